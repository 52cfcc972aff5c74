// Header values of the form `word; name=value; name="value"` (RFC 9110 section 5.6).
//
// For: what a request's Content-Type says, and Content-Disposition of a part. Not for: media types
// of audio (the bytes decide the format). Knows nothing of nginx.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace sonogate::ngx_module {

// ASCII letters compared without case.
bool same_word(std::string_view a, std::string_view b) noexcept;

// The parameter of that name, quotes and backslashes undone into `out`; nothing where it is absent,
// badly written, or longer than `out`.
std::optional<std::string_view> header_parameter(std::string_view value, std::string_view name,
                                                 std::span<char> out) noexcept;

enum class Wrapping : std::uint8_t { none, multipart, json };

// How the body is wrapped; everything that is neither of the two is the audio itself.
Wrapping wrapping_of(std::string_view content_type) noexcept;

}  // namespace sonogate::ngx_module
