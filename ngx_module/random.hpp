// Random bytes that cannot be guessed, from the kernel, a few hundred at a time.
//
// For: request ids, track ids, job keys. Not for: secrets that live longer than a request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sonogate::ngx_module {

void fill_random(std::span<std::uint8_t> out) noexcept;

// 32 hexadecimal digits.
void write_request_id(std::span<char, 32> out) noexcept;

// 26 characters of Crockford's base 32 in lower case: 130 bits.
void write_track_id(std::span<char, 26> out) noexcept;

}  // namespace sonogate::ngx_module
