// nginx's own check is off in our locations (client_max_body_size 0): it writes a line of its own
// at the level `error` for each refusal, which no setting lowers and nothing sums up. What it did
// for a body of unknown length is done here, for whoever reads it: the upload, or mirror, which
// would else write it to a file without end.
#include "ngx_module/body_limit.hpp"

#include <algorithm>

#include "ngx_module/conf.hpp"

namespace sonogate::ngx_module {

namespace {

ngx_http_request_body_filter_pt next_reader;

// What has arrived, and the rest of a chunk that has begun. HTTP/1.1 and 3 count in
// content_length_n as they go, HTTP/2 leaves it at -1 until the end.
off_t announced_bytes(const ngx_http_request_t* r) noexcept {
    const ngx_http_request_body_t& body = *r->request_body;
    if (r->headers_in.content_length_n < 0) {
        return body.received;
    }
    return r->headers_in.content_length_n + (body.chunked != nullptr ? body.chunked->size : 0);
}

ngx_int_t bounded_reader(ngx_http_request_t* r, ngx_chain_t* in) {
    const LocConf& conf = *loc_conf_of(r);
    if (conf.pool != nullptr && r->headers_in.chunked && announced_bytes(r) > conf.max_body_bytes) {
        r->lingering_close = 1;
        // The location of an error_page may take even less: what was counted is forgotten.
        r->headers_in.content_length_n = std::min<off_t>(r->headers_in.content_length_n, 0);
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    return next_reader(r, in);
}

}  // namespace

void install_body_limit() noexcept {
    next_reader = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = bounded_reader;
}

}  // namespace sonogate::ngx_module
