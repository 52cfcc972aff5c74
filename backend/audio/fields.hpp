// Numbers of either byte order, and names, out of bytes that may change meanwhile: copied, then
// read.
//
// For: headers whose fields stand at known places. Not for: reading from front to end (ByteReader).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/bytes.hpp"

namespace sonogate::audio {

class Fields {
  public:
    Fields(Bytes file, bool big_endian) noexcept : file_(file), big_(big_endian) {}

    // Of up to eight bytes; nullopt where they are not all there.
    std::optional<std::uint64_t> number(std::size_t at, std::size_t bytes) const noexcept {
        std::array<std::uint8_t, 8> raw{};
        if (at > file_.size() || file_.size() - at < bytes) {
            return std::nullopt;
        }
        std::memcpy(raw.data(), file_.data() + at, bytes);
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) {
            value = value << 8U | raw[big_ ? i : bytes - 1 - i];
        }
        return value;
    }
    // `id` is of sixteen bytes at most.
    bool is(std::size_t at, std::string_view id) const noexcept {
        std::array<char, 16> raw{};
        if (at > file_.size() || file_.size() - at < id.size()) {
            return false;
        }
        std::memcpy(raw.data(), file_.data() + at, id.size());
        return std::string_view(raw.data(), id.size()) == id;
    }
    std::size_t size() const noexcept { return file_.size(); }

  private:
    Bytes file_;
    bool big_;
};

}  // namespace sonogate::audio
