// The traceparent header (W3C Trace Context, level 1): which trace a request belongs to.
//
// For: log lines, so that they are found from the client's side. Not for: making spans; nginx-otel
// does that. Knows nothing of nginx.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sonogate::ngx_module {

// The trace id, 32 hexadecimal digits; empty where the header is none that counts.
std::string_view trace_id_of(std::string_view traceparent) noexcept;

// What trace_id_of() gave, as the 16 bytes that it writes out; zeros for an empty one.
std::array<std::uint8_t, 16> trace_bytes(std::string_view trace_id) noexcept;

}  // namespace sonogate::ngx_module
