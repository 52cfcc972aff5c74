// Settings: what the directives say, merged and checked.
//
// For: everybody who needs a setting. Not for: their meaning at run time. docs/directives.md is the
// reference.
#pragma once

#include "ngx_module/limits.hpp"
#include "ngx_module/ngx.hpp"
#include "ngx_module/rate_conf.hpp"
#include "shm/layout.hpp"

namespace sonogate::ngx_module {

class Link;
struct Concurrency;
struct CorsConf;
struct KeyTable;
struct PriorityConf;

struct Pool {
    ngx_str_t name{};
    ngx_str_t socket{};       // absolute
    ngx_fd_t socket_fd = -1;  // O_PATH, opened by the master: a way in where the folder is closed
    shm::PoolSettings settings;
    Link* link = nullptr;  // of this worker process
};

enum CatalogMode : ngx_uint_t { catalog_off = 0, catalog_read, catalog_write };

struct MainConf {
    ngx_array_t pools;       // of Pool*
    ngx_array_t rate_zones;  // of RateZone*
};

struct LocConf {
    ngx_str_t pool_name;  // as written after sonogate_pass; null where there is none
    ngx_str_t where;      // file:line of it
    Pool* pool;
    LocConf** api;  // the first location of the server with a pool; all levels below it share this
    off_t max_body_bytes;
    Limits limits;
    ngx_msec_t upload_wait_ms;
    ngx_uint_t log_level;         // of a client's refusals
    ngx_uint_t catalog;           // CatalogMode
    ngx_uint_t catalog_open;      // writing needs no key with the role
    KeyTable* keys;               // null: everybody is let in
    ngx_str_t keys_where;         // file:line of it, where this very level says so
    CorsConf* cors;               // null: off
    ngx_array_t* hosts;           // of ngx_str_t; null: all
    ngx_uint_t security_headers;  // SecurityHeaders, or unset where nobody said
    Rates* rates;                 // null: none
    Concurrency* concurrency;     // null: off
    PriorityConf* priority;       // null: interactive
    ngx_uint_t rate_headers;      // RateHeaders
    ngx_flag_t cache;             // where the pool has a result_cache
};

extern ngx_command_t commands[];

// FILE:LINE of the directive that is being read, for what only the merge can judge. Null where
// memory is short.
ngx_str_t place_in_conf(ngx_conf_t* cf) noexcept;

void* create_main_conf(ngx_conf_t* cf) noexcept;
void* create_loc_conf(ngx_conf_t* cf) noexcept;
char* merge_loc_conf(ngx_conf_t* cf, void* parent, void* child) noexcept;

// The handler that sonogate_pass sets; gate.cpp has it.
ngx_int_t content_handler(ngx_http_request_t* r) noexcept;

inline LocConf* loc_conf_of(ngx_http_request_t* r) noexcept {
    return static_cast<LocConf*>(ngx_http_get_module_loc_conf(r, ngx_http_sonogate_module));
}

}  // namespace sonogate::ngx_module
