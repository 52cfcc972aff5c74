// CORS after the WHATWG Fetch standard: which pages of other origins may read our answers.
//
// For: `sonogate_cors`, what it decides about a request, the headers of its answer. Not for:
// comparing origins (origin.hpp) nor for keeping others out: a browser enforces this for its user,
// other clients send what they like.
#pragma once

#include "ngx_module/ngx.hpp"
#include "ngx_module/origin.hpp"

namespace sonogate::ngx_module {

class AnswerHeaders;
class Request;

struct CorsConf {
    ngx_array_t origins;  // of OriginPattern
    bool any_origin;      // `*`
    bool credentials;
    bool private_network;
    ngx_str_t max_age_s;
    ngx_str_t allow_headers;
    ngx_str_t expose_headers;
};

// Decided once, by the first location that a request reaches: an error page answers the same page.
struct Cors {
    const CorsConf* conf = nullptr;
    std::string_view origin{};  // the request's, where it may read the answer
    bool allowed = false;
    bool preflight = false;
};

// `sonogate_cors off | ORIGIN… [credentials] [private_network] [max_age=TIME] [headers=LIST]
// [expose=LIST]`; several lines add up.
char* set_cors(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

Cors decide_cors(ngx_http_request_t* r, const CorsConf* conf) noexcept;

void add_cors_headers(const Request& request, AnswerHeaders& headers) noexcept;

}  // namespace sonogate::ngx_module
