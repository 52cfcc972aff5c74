#include "ngx_module/filename.hpp"

#include <cstdint>
#include <cstring>

namespace sonogate::ngx_module {

namespace {

struct Character {
    std::uint32_t code = 0;
    std::size_t bytes = 0;  // 0 = not UTF-8
};

// The first character (RFC 3629: shortest forms only, no surrogates). `text` is not empty.
Character first_of(std::string_view text) noexcept {
    const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) {
        return {lead, 1};
    }
    const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) {
        return {};
    }
    std::uint32_t code = lead & (0xffU >> (bytes + 1));
    for (std::size_t i = 1; i < bytes; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) {
            return {};
        }
        code = code << 6U | (byte(i) & 0x3fU);
    }
    constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < least[bytes] || code > 0x10ffff || surrogate ? Character{}
                                                               : Character{code, bytes};
}

// What a log, a terminal or a page could take for more than a letter.
bool is_harmful(std::uint32_t code) noexcept {
    const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    const bool direction = (code >= 0x200e && code <= 0x200f) ||
                           (code >= 0x2028 && code <= 0x202e) ||
                           (code >= 0x2066 && code <= 0x2069) || code == 0x061c;
    return control || direction || code == '"' || code == '<' || code == '>' || code == 0xfeff;
}

}  // namespace

void Filename::set(std::string_view sent) noexcept {
    size_ = 0;
    if (const std::size_t slash = sent.find_last_of("/\\"); slash != std::string_view::npos) {
        sent.remove_prefix(slash + 1);
    }
    if (sent == "." || sent == "..") {
        return;
    }
    while (!sent.empty()) {
        const Character one = first_of(sent);
        const bool kept = one.bytes != 0 && !is_harmful(one.code);
        const std::string_view out = kept ? sent.substr(0, one.bytes) : std::string_view("_");
        if (out.size() > text_.size() - size_) {
            return;
        }
        std::memcpy(text_.data() + size_, out.data(), out.size());
        size_ += out.size();
        sent.remove_prefix(one.bytes == 0 ? 1 : one.bytes);
    }
}

}  // namespace sonogate::ngx_module
