// A bounded piece of text being put together: JSON members, header values.
//
// For: small answers of nginx's own, in memory that belongs to somebody else. Not for: results (the
// backend writes those) nor for parsing. What does not fit is left out, and fits() says so.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <system_error>

namespace sonogate::ngx_module {

class TextBuffer {
  public:
    explicit TextBuffer(std::span<char> out) noexcept : out_(out) {}

    TextBuffer& text(std::string_view more) noexcept {
        if (more.size() > out_.size() - size_) {
            fits_ = false;
            return *this;
        }
        if (!more.empty()) {
            std::memcpy(out_.data() + size_, more.data(), more.size());
        }
        size_ += more.size();
        return *this;
    }

    TextBuffer& number(std::uint64_t value) noexcept {
        char* const end = out_.data() + out_.size();
        const auto [to, error] = std::to_chars(out_.data() + size_, end, value);
        if (error != std::errc{}) {
            fits_ = false;
            return *this;
        }
        size_ = static_cast<std::size_t>(to - out_.data());
        return *this;
    }

    // Microseconds as milliseconds with three decimals: 12.345.
    TextBuffer& milliseconds(std::uint64_t microseconds) noexcept {
        const char fraction[4] = {'.', static_cast<char>('0' + microseconds / 100 % 10),
                                  static_cast<char>('0' + microseconds / 10 % 10),
                                  static_cast<char>('0' + microseconds % 10)};
        return number(microseconds / 1000).text({fraction, sizeof(fraction)});
    }

    // A JSON string with its quotes (RFC 8259 section 7). Bytes beyond ASCII are taken as UTF-8.
    TextBuffer& json_string(std::string_view value) noexcept {
        text("\"");
        for (const char c : value) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte < 0x20 || byte == 0x7f) {
                constexpr std::string_view hex = "0123456789abcdef";
                const char escaped[6] = {'\\', 'u', '0', '0', hex[byte >> 4U], hex[byte & 15U]};
                text({escaped, sizeof(escaped)});
            } else {
                if (c == '"' || c == '\\') {
                    text("\\");
                }
                text({&c, 1});
            }
        }
        return text("\"");
    }

    std::string_view view() const noexcept { return {out_.data(), size_}; }
    std::size_t size() const noexcept { return size_; }
    bool fits() const noexcept { return fits_; }

  private:
    std::span<char> out_;
    std::size_t size_ = 0;
    bool fits_ = true;
};

}  // namespace sonogate::ngx_module
