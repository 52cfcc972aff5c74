// Request parameters, packed: what nginx read from the query and the parts of a multipart body.
//
// For: handing name/value pairs across shared memory, names as numbers. Not for: JSON members (the
// worker reads those) nor for what a value means.
//
//   entry:  u16 parameter   u16 zero   u32 value_bytes   value_bytes bytes, not terminated
//   (repeated)
#pragma once

#include <array>
#include <bitset>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.hpp"
#include "base/parameter.hpp"
#include "base/result.hpp"

namespace sonogate::shm {

// Appends to memory it borrows. The first source that names a parameter wins; the caller tells
// sources apart with next_source(): query first, then parts.
class ParamsWriter {
  public:
    ParamsWriter() noexcept = default;
    explicit ParamsWriter(std::span<std::byte> out) noexcept : out_(out) {}

    // Errors: invalid_parameter, named, where this source named it before; malformed_request where
    // memory is short.
    Result<void> add(Parameter parameter, std::string_view value) noexcept {
        const auto i = static_cast<std::size_t>(parameter);
        if (this_source_.test(i)) {
            return invalid(parameter);
        }
        this_source_.set(i);
        if (earlier_.test(i)) {
            return {};
        }
        if (out_.size() - size_ < header_bytes ||
            out_.size() - size_ - header_bytes < value.size()) {
            return Failure{
                .code = Errc::malformed_request, .limit = out_.size(), .value = value.size()};
        }
        const Header header{static_cast<std::uint16_t>(i), 0,
                            static_cast<std::uint32_t>(value.size())};
        std::memcpy(out_.data() + size_, &header, header_bytes);
        if (!value.empty()) {
            std::memcpy(out_.data() + size_ + header_bytes, value.data(), value.size());
        }
        size_ += header_bytes + value.size();
        return {};
    }

    void next_source() noexcept {
        earlier_ |= this_source_;
        this_source_.reset();
    }

    bool has(Parameter parameter) const noexcept {
        const auto i = static_cast<std::size_t>(parameter);
        return this_source_.test(i) || earlier_.test(i);
    }
    std::size_t size() const noexcept { return size_; }

    // Goes on in other memory, at least as large; what was written is copied.
    void move_to(std::span<std::byte> out) noexcept {
        if (size_ > 0) {
            std::memcpy(out.data(), out_.data(), size_);
        }
        out_ = out;
    }

    struct Header {
        std::uint16_t parameter;
        std::uint16_t zero;
        std::uint32_t value_bytes;
    };
    static constexpr std::size_t header_bytes = sizeof(Header);

  private:
    std::span<std::byte> out_;
    std::size_t size_ = 0;
    std::bitset<parameter_count> earlier_;
    std::bitset<parameter_count> this_source_;
};

// The values by parameter; views borrow the packed bytes.
class Params {
  public:
    // Errors: malformed_request where the bytes are not what ParamsWriter writes.
    static Result<Params> parse(Bytes packed) noexcept {
        Params out;
        ByteReader reader(packed);
        while (reader.left() > 0) {
            const auto header = reader.read<ParamsWriter::Header>();
            const Bytes value = reader.take(header.value_bytes);
            if (!reader.ok() || header.parameter == 0 || header.parameter >= parameter_count ||
                out.values_[header.parameter]) {
                return Errc::malformed_request;
            }
            out.values_[header.parameter] = as_text(value);
        }
        if (!reader.ok()) {
            return Errc::malformed_request;
        }
        return out;
    }

    std::optional<std::string_view> get(Parameter parameter) const noexcept {
        return values_[static_cast<std::size_t>(parameter)];
    }

    // Adds one that the packed form did not have (a JSON member); the packed one wins.
    void add_later(Parameter parameter, std::string_view value) noexcept {
        auto& slot = values_[static_cast<std::size_t>(parameter)];
        if (!slot) {
            slot = value;
        }
    }

  private:
    std::array<std::optional<std::string_view>, parameter_count> values_{};
};

}  // namespace sonogate::shm
