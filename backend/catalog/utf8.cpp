#include "catalog/utf8.hpp"

#include <locale.h>
#include <wctype.h>

#include <cstdint>

namespace sonogate::catalog {
namespace {

constexpr char32_t no_character = 0xffffffff;

// Takes the next code point from the front, no_character where there is none.
char32_t take(std::string_view& text) noexcept {
    const auto lead = static_cast<unsigned char>(text.front());
    const std::size_t size = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0x80) {
        text.remove_prefix(1);
        return lead;
    }
    if (lead < 0xc2 || lead > 0xf4 || text.size() < size) {
        return no_character;
    }
    auto value = static_cast<char32_t>(lead & (0x7fU >> size));
    for (std::size_t i = 1; i < size; ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if ((byte & 0xc0U) != 0x80U) {
            return no_character;
        }
        value = value << 6U | (byte & 0x3fU);
    }
    constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < smallest[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return no_character;
    }
    text.remove_prefix(size);
    return value;
}

void append(std::string& out, char32_t c) {
    const auto tail = [c](unsigned shift) {
        return static_cast<char>(0x80U | ((c >> shift) & 0x3fU));
    };
    if (c < 0x80) {
        out += static_cast<char>(c);
    } else if (c < 0x800) {
        out += static_cast<char>(0xc0U | (c >> 6U));
        out += tail(0);
    } else if (c < 0x10000) {
        out += static_cast<char>(0xe0U | (c >> 12U));
        out += tail(6);
        out += tail(0);
    } else {
        out += static_cast<char>(0xf0U | (c >> 18U));
        out += tail(12);
        out += tail(6);
        out += tail(0);
    }
}

}  // namespace

std::optional<std::size_t> utf8_characters(std::string_view text) noexcept {
    std::size_t count = 0;
    while (!text.empty()) {
        if (take(text) == no_character) {
            return std::nullopt;
        }
        ++count;
    }
    return count;
}

std::string utf8_folded(std::string_view text) {
    // The process stays in the "C" locale; this one is for the tables alone. Debian always has it.
    static const locale_t unicode = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const char32_t c = take(text);
        if (c == no_character) {
            break;
        }
        append(out, unicode == nullptr
                        ? c
                        : static_cast<char32_t>(::towlower_l(static_cast<wint_t>(c), unicode)));
    }
    return out;
}

}  // namespace sonogate::catalog
