// Reading and writing little-endian numbers and length-prefixed strings within a bound.
//
// For: everything that parses bytes it did not write: it cannot read past the end, and remembers if
// somebody tried. Not for: text.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace sonogate {

static_assert(std::endian::native == std::endian::little,
              "packed forms are written as the machine has them");

using Bytes = std::span<const std::byte>;

inline Bytes as_bytes_of(std::string_view text) noexcept {
    return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string_view as_text(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads from the front of a span. After the first read past the end, every read gives zeros and
// ok() is false.
class ByteReader {
  public:
    explicit ByteReader(Bytes bytes) noexcept : rest_(bytes) {}

    template <typename T>
    requires std::is_trivially_copyable_v<T> T read()
    noexcept {
        T value{};
        const Bytes raw = take(sizeof(T));
        if (raw.size() == sizeof(T)) {
            std::memcpy(&value, raw.data(), sizeof(T));
        }
        return value;
    }

    // The next `size` bytes, borrowed; empty (and not ok) where fewer are left.
    Bytes take(std::size_t size) noexcept {
        if (!ok_ || size > rest_.size()) {
            ok_ = false;
            return {};
        }
        const Bytes out = rest_.first(size);
        rest_ = rest_.subspan(size);
        return out;
    }

    bool ok() const noexcept { return ok_; }
    std::size_t left() const noexcept { return ok_ ? rest_.size() : 0; }

  private:
    Bytes rest_;
    bool ok_ = true;
};

// Appends to a growing buffer it owns. Backend only: it allocates, so it may throw.
class ByteWriter {
  public:
    template <typename T>
    requires std::is_trivially_copyable_v<T>
    void write(const T& value) { append(std::as_bytes(std::span(&value, 1))); }
    void append(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

    const std::vector<std::byte>& bytes() const noexcept { return out_; }
    std::vector<std::byte> take() noexcept { return std::move(out_); }

  private:
    std::vector<std::byte> out_;
};

}  // namespace sonogate
