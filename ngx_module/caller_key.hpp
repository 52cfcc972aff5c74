// A variable, or a text with variables, that tells callers apart or says whether something applies.
//
// For: `key=` and `if=` of rates and concurrency. Not for: what is done with it.
#pragma once

#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

class Request;

struct CallerKey {
    bool is_identity = false;        // $sonogate_identity: known without nginx's variables
    ngx_int_t variable = NGX_ERROR;  // its index where the text is one variable and nothing else
    ngx_http_complex_value_t text{};

    // False where it cannot be compiled; the reason is logged.
    bool compile(ngx_conf_t* cf, std::string_view source) noexcept;

    // Its value for a request; empty where it has none. False where memory is short.
    bool read(ngx_http_request_t* r, std::string_view& out) const noexcept;

    // The hash of its value. False where memory is short.
    bool hash(Request& request, std::uint64_t& out) const noexcept;

    // As `if=` of access_log: a value that is neither empty nor "0".
    bool holds(ngx_http_request_t* r) const noexcept;
};

// Who a caller is where a directive does not say.
inline constexpr std::string_view default_caller_key = "$sonogate_identity";

}  // namespace sonogate::ngx_module
