// How clients are told of their quotas.
//
// For: the values of RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10), and
// of the X-RateLimit- headers that were common before. Not for: sending them (filter.cpp). Knows
// nothing of nginx.
#pragma once

#include <span>
#include <string_view>

#include "ngx_module/rate_window.hpp"

namespace sonogate::ngx_module {

struct ToldRate {
    std::string_view name;
    const RateWindow* window = nullptr;
    Ticks ahead = 0;  // until the quota is full
};

inline constexpr std::size_t most_rates = 16;          // of one request
inline constexpr std::size_t rate_header_bytes = 112;  // of one of them

// "m";q=10;w=60,"d-bytes";q=1048576;w=86400;qu="content-bytes"
void write_rate_policies(std::span<const ToldRate> rates, TextBuffer& out) noexcept;

// "m";r=3;t=42: what is left, and the seconds until all of it is back.
void write_rate_limits(std::span<const ToldRate> rates, TextBuffer& out) noexcept;

// The one that runs out first, of those that count requests where there are any. Not of none.
const ToldRate& tightest_rate(std::span<const ToldRate> rates) noexcept;

}  // namespace sonogate::ngx_module
