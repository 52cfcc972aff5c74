// `sonogate_security_headers`: what browsers shall not do with our answers.
//
// For: the two sets and where they apply. Not for: CORS (cors.hpp).
#pragma once

#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

class AnswerHeaders;
class Request;

enum SecurityHeaders : ngx_uint_t { security_off = 0, security_api, security_page };
extern ngx_conf_enum_t security_headers_names[];

// Which set an answer has. An error page without a setting of its own has that of the location
// which the request reached first. `request` is null where no location of ours was reached.
ngx_uint_t security_headers_of(ngx_http_request_t* r, const Request* request) noexcept;

void add_security_headers(const ngx_http_request_t* r, ngx_uint_t set,
                          AnswerHeaders& headers) noexcept;

}  // namespace sonogate::ngx_module
