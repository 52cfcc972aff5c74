// The traceparent header (W3C Trace Context, level 1): which trace a request belongs to.
//
// For: log lines, so that they are found from the client's side. Not for: making spans; nginx-otel
// does that. Knows nothing of nginx.
#pragma once

#include <string_view>

namespace sonogate::ngx_module {

// The trace id, 32 hexadecimal digits; empty where the header is none that counts.
std::string_view trace_id_of(std::string_view traceparent) noexcept;

}  // namespace sonogate::ngx_module
