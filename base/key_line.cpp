#include "base/key_line.hpp"

#include <algorithm>

namespace sonogate {

namespace {

constexpr std::array<std::pair<std::string_view, Role>, 4> roles = {{
    {"analyze", role_analyze},
    {"identify", role_identify},
    {"catalog", role_catalog},
    {"ops", role_ops},
}};
constexpr std::string_view blanks = " \t\r";
constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::size_t max_name_bytes = 64;

std::string_view next_word(std::string_view& rest) noexcept {
    rest.remove_prefix(std::min(rest.find_first_not_of(blanks), rest.size()));
    const std::string_view word = rest.substr(0, rest.find_first_of(blanks));
    rest.remove_prefix(word.size());
    return word;
}

int hex_value(char c) noexcept {
    const auto at = hex_digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

bool read_digest(std::string_view hex, KeyDigest& out) noexcept {
    if (hex.size() != 2 * out.size()) {
        return false;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
        const int high = hex_value(hex[2 * i]);
        const int low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return true;
}

// Null, or what is wrong with the word. `out` has no roles where none were named before.
const char* read_option(std::string_view word, KeyLine& out) noexcept {
    constexpr std::string_view roles_are = "roles=";
    constexpr std::string_view rate_is = "rate=";
    if (word.starts_with(roles_are)) {
        if (out.roles != 0) {
            return "has roles= twice";
        }
        out.roles = roles_of(word.substr(roles_are.size()));
        return out.roles != 0 ? nullptr : "has roles other than analyze, identify, catalog and ops";
    }
    if (word.starts_with(rate_is)) {
        if (!out.rate_class.empty()) {
            return "has rate= twice";
        }
        out.rate_class = word.substr(rate_is.size());
        return is_key_name(out.rate_class) ? nullptr : "has a rate class that is no name";
    }
    return "knows only roles= and rate= after the SHA-256";
}

}  // namespace

bool is_key_name(std::string_view text) noexcept {
    const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
    const auto allowed = [&](char c) {
        return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '@' ||
               c == '-';
    };
    return !text.empty() && text.size() <= max_name_bytes && is_letter(text.front()) &&
           std::all_of(text.begin(), text.end(), allowed);
}

std::uint8_t roles_of(std::string_view list) noexcept {
    unsigned out = 0;
    while (!list.empty()) {
        const std::string_view one = list.substr(0, list.find(','));
        list.remove_prefix(std::min(one.size() + 1, list.size()));
        const auto* known = std::find_if(roles.begin(), roles.end(),
                                         [one](const auto& role) { return role.first == one; });
        if (known == roles.end()) {
            return 0;
        }
        out |= known->second;
    }
    return static_cast<std::uint8_t>(out);
}

KeyLineKind read_key_line(std::string_view line, KeyLine& out, const char*& why) noexcept {
    out = {};
    std::string_view rest = line.substr(0, line.find('#'));
    out.name = next_word(rest);
    if (out.name.empty()) {
        return KeyLineKind::blank;
    }
    if (!is_key_name(out.name)) {
        why = "has a name that is not 1 to 64 of A-Za-z0-9._@- with a letter first";
        return KeyLineKind::bad;
    }
    if (!read_digest(next_word(rest), out.digest)) {
        why = "has no SHA-256 of 64 hexadecimal digits after the name";
        return KeyLineKind::bad;
    }
    out.roles = 0;
    for (auto word = next_word(rest); !word.empty(); word = next_word(rest)) {
        if (why = read_option(word, out); why != nullptr) {
            return KeyLineKind::bad;
        }
    }
    out.roles = out.roles == 0 ? default_roles : out.roles;
    return KeyLineKind::key;
}

std::string write_key_line(const KeyLine& key) {
    std::string out(key.name);
    out += ' ';
    for (const std::uint8_t byte : key.digest) {
        out += hex_digits[byte >> 4U];
        out += hex_digits[byte & 15U];
    }
    out += " roles=";
    bool first = true;
    for (const auto& [name, role] : roles) {
        if ((key.roles & role) != 0) {
            out.append(first ? "" : ",").append(name);
            first = false;
        }
    }
    if (!key.rate_class.empty()) {
        out.append(" rate=").append(key.rate_class);
    }
    return out;
}

}  // namespace sonogate
