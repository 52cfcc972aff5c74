// Web origins, as a configuration names them and as a browser sends them.
//
// For: reading `https://*.example.com`, and saying whether an Origin header is meant. Not for: what
// follows from it (cors.cpp). Knows nothing of nginx.
//
// A browser sends an origin in one form only: scheme and host in lower case, no default port, no
// path (RFC 6454 section 6.2, WHATWG HTML "serialization of an origin"). So what is configured is
// brought into that form once, and a request's is compared byte by byte.
#pragma once

#include <span>
#include <string_view>

namespace sonogate::ngx_module {

struct OriginPattern {
    std::string_view head{};  // all of it, or what stands before the `*`
    std::string_view tail{};  // what follows the `*`, with its dot
    bool any_subdomain = false;
};

// `SCHEME://HOST[:PORT]`, HOST perhaps `*.DOMAIN`; or `null`. `out` borrows `room`, which is as
// long as `text`. Null, or why it is none, for `nginx -t`.
const char* read_origin(std::string_view text, std::span<char> room, OriginPattern& out) noexcept;

// Any depth of subdomains, not the domain itself, and nothing that is no host name: `*` never
// stands for a slash, a colon or an @.
bool matches(const OriginPattern& pattern, std::string_view origin) noexcept;

}  // namespace sonogate::ngx_module
