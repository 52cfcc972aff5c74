// sonogate_rate_zone, sonogate_rate, sonogate_rate_headers: what they say, and the shared tables.
//
// For: conf.cpp, and rate.cpp at run time. Not for: charging.
#pragma once

#include "ngx_module/caller_key.hpp"
#include "ngx_module/ngx.hpp"
#include "ngx_module/rate_table.hpp"

namespace sonogate::ngx_module {

struct MainConf;
struct LocConf;

// The words of one period of a zone: a shared memory zone of nginx's, which survives reloads.
struct RateWords {
    std::uint32_t period_s = 0;  // 0: of windows that are only known at run time
    RateTable table;
    std::size_t words = 0;
};

struct RateZone {
    ngx_str_t name{};
    std::size_t bytes = 0;  // 0: named, but not declared
    CallerKey key;
    ngx_array_t tables{};  // of RateWords*

    // Where windows of that period are kept; null where the zone has no place for them.
    const RateTable* table_of(std::uint32_t period_s) const noexcept;
};

// One policy of a location: a window that is known, or a text that becomes windows for a request.
struct RateRule {
    RateZone* zone = nullptr;
    RateWindow window;
    ngx_str_t name{};                   // unique in its location
    const RateTable* table = nullptr;   // of the window
    const CallerKey* policy = nullptr;  // where the windows come from variables
    ngx_str_t burst{};                  // … and what to lower them to
    const CallerKey* condition = nullptr;
    std::uint16_t status = NGX_HTTP_TOO_MANY_REQUESTS;
    bool dry_run = false;
    bool may_repeat = false;  // a rule before it may have the same window
};

// All sonogate_rate of one level.
struct Rates {
    ngx_array_t rules{};  // of RateRule
    bool off = false;
    bool resolved = false;
    bool has_policy = false;  // one at least comes from variables
    ngx_str_t policies{};     // RateLimit-Policy, where it is the same for every request
    ngx_str_t where{};        // file:line of the first

    std::span<const RateRule> all() const noexcept {
        return {static_cast<const RateRule*>(rules.elts), rules.nelts};
    }
};

enum RateHeaders : ngx_uint_t { rate_headers_draft = 0, rate_headers_legacy, rate_headers_off };

char* set_rate_zone(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_rate(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
extern ngx_conf_enum_t rate_header_styles[];

// At the merge: inherits, names the windows, and asks nginx for the tables that they need.
char* merge_rates(ngx_conf_t* cf, const LocConf& from, LocConf& loc) noexcept;

// `m`, or `m-zone`, or `m-zone-2` …: the first that no other window has, neither of the rules that
// were named before nor of those `made` for a request. In the pool.
ngx_str_t unique_rate_name(ngx_pool_t* pool, const RateRule& rule, std::span<const RateRule> named,
                           std::span<const RateRule* const> made = {}) noexcept;

}  // namespace sonogate::ngx_module
