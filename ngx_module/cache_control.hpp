// What a client says of caches in its request (RFC 9111, section 5.2.1).
//
// For: the result cache. Not for: what nginx's own caches make of it. Knows nothing of nginx.
#pragma once

#include <string_view>

namespace sonogate::ngx_module {

// True where a Cache-Control field has `no-store` (keep nothing of this) or `no-cache` (make it
// anew) among its directives.
bool forbids_cache(std::string_view cache_control) noexcept;

}  // namespace sonogate::ngx_module
