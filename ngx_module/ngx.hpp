// The only door to nginx's headers: C linkage, included before everything else in a file.
//
// For: nginx's types, and the little that both spellings of a string need. Not for: anything that
// can be tested without nginx (multipart, query, problem, route do not include it).
#pragma once

extern "C" {
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
}

#include <cstring>
#include <string_view>

extern "C" {
extern ngx_module_t ngx_http_sonogate_module;         // settings, phases, variables
extern ngx_module_t ngx_http_sonogate_filter_module;  // headers and problem bodies
}

namespace sonogate::ngx_module {

inline std::string_view view(const ngx_str_t& text) noexcept {
    return {reinterpret_cast<const char*>(text.data), text.len};
}

inline u_char* chars(const char* text) noexcept {
    return reinterpret_cast<u_char*>(const_cast<char*>(text));
}

// Borrows; nginx never writes through it where the text is a constant.
inline ngx_str_t borrowed(std::string_view text) noexcept {
    return {text.size(), chars(text.data())};
}

// A copy in the pool; len 0 and data null where memory is short.
inline ngx_str_t copied(ngx_pool_t* pool, std::string_view text) noexcept {
    auto* data = static_cast<u_char*>(ngx_pnalloc(pool, text.size() + 1));
    if (data == nullptr) {
        return {0, nullptr};
    }
    if (!text.empty()) {
        std::memcpy(data, text.data(), text.size());
    }
    data[text.size()] = '\0';
    return {text.size(), data};
}

// Milliseconds of nginx's cached clock, the one that timers use.
inline ngx_msec_t timer_now() noexcept {
    return ngx_current_msec;
}

}  // namespace sonogate::ngx_module
