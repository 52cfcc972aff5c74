#include "ngx_module/security_headers.hpp"

#include <array>

#include "ngx_module/conf.hpp"
#include "ngx_module/headers.hpp"
#include "ngx_module/request.hpp"

namespace sonogate::ngx_module {

namespace {

struct Header {
    std::string_view name;
    std::string_view api;
    std::string_view page;
};

// api: JSON that is nobody's document: it loads nothing, is framed nowhere, and no other site may
// embed it. page: one with scripts, styles and media of its own, that may play what the user chose.
// X-XSS-Protection 0: the filters that old browsers have are themselves a hole.
constexpr std::array<Header, 8> headers_of_sets = {{
    {"X-Content-Type-Options", "nosniff", "nosniff"},
    {"X-Frame-Options", "DENY", "DENY"},
    {"Referrer-Policy", "no-referrer", "strict-origin-when-cross-origin"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'",
     "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
     "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"},
    {"Cross-Origin-Resource-Policy", "same-origin", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin", "same-origin"},
    {"Cross-Origin-Embedder-Policy", "", "require-corp"},
    {"X-XSS-Protection", "0", "0"},
}};
// Without includeSubDomains: those hosts are not ours to speak for.
constexpr std::string_view transport_security = "max-age=31536000";

ngx_uint_t set_of(const LocConf& conf) noexcept {
    if (conf.security_headers != NGX_CONF_UNSET_UINT) {
        return conf.security_headers;
    }
    return conf.pool != nullptr ? security_api : security_off;
}

}  // namespace

ngx_conf_enum_t security_headers_names[] = {{ngx_string("off"), security_off},
                                            {ngx_string("api"), security_api},
                                            {ngx_string("page"), security_page},
                                            {ngx_null_string, 0}};

ngx_uint_t security_headers_of(ngx_http_request_t* r, const Request* request) noexcept {
    const LocConf& here = *loc_conf_of(r);
    const bool says_nothing = here.pool == nullptr && here.security_headers == NGX_CONF_UNSET_UINT;
    return set_of(says_nothing && request != nullptr ? *request->entered : here);
}

void add_security_headers(const ngx_http_request_t* r, ngx_uint_t set,
                          AnswerHeaders& headers) noexcept {
    if (set == security_off) {
        return;
    }
    for (const Header& one : headers_of_sets) {
        const std::string_view value = set == security_page ? one.page : one.api;
        if (!value.empty()) {
            headers.set(one.name, value);
        }
    }
#if (NGX_HTTP_SSL)
    if (r->connection->ssl != nullptr) {
        headers.set("Strict-Transport-Security", transport_security);
    }
#endif
}

}  // namespace sonogate::ngx_module
