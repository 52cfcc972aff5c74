#include "ngx_module/content_type.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view blanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// Where the parameter that starts at 0 ends: the next ';' outside quotes, or the end.
std::size_t parameter_end(std::string_view text) noexcept {
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (quoted && text[i] == '\\') {
            ++i;
        } else if (text[i] == '"') {
            quoted = !quoted;
        } else if (text[i] == ';' && !quoted) {
            return i;
        }
    }
    return text.size();
}

std::optional<std::string_view> unquoted(std::string_view value, std::span<char> out) noexcept {
    std::size_t size = 0;
    const bool quoted = value.starts_with('"');
    for (std::size_t i = quoted ? 1 : 0; i < value.size(); ++i) {
        if (quoted && value[i] == '"') {
            return std::string_view(out.data(), size);
        }
        if (quoted && value[i] == '\\' && i + 1 < value.size()) {
            ++i;
        }
        if (size == out.size()) {
            return std::nullopt;
        }
        out[size++] = value[i];
    }
    return quoted ? std::nullopt : std::optional(std::string_view(out.data(), size));
}

}  // namespace

bool same_word(std::string_view a, std::string_view b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string_view> header_parameter(std::string_view value, std::string_view name,
                                                 std::span<char> out) noexcept {
    std::size_t at = parameter_end(value);
    while (at < value.size()) {
        value.remove_prefix(at + 1);
        at = parameter_end(value);
        const std::string_view one = value.substr(0, at);
        const std::size_t equals = one.find('=');
        if (equals != std::string_view::npos && same_word(trimmed(one.substr(0, equals)), name)) {
            return unquoted(trimmed(one.substr(equals + 1)), out);
        }
    }
    return std::nullopt;
}

Wrapping wrapping_of(std::string_view content_type) noexcept {
    const std::string_view type = trimmed(content_type.substr(0, content_type.find(';')));
    if (same_word(type, "multipart/form-data")) {
        return Wrapping::multipart;
    }
    return same_word(type, "application/json") ? Wrapping::json : Wrapping::none;
}

}  // namespace sonogate::ngx_module
