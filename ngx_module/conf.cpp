#include "ngx_module/conf.hpp"

#include <algorithm>

#include "ngx_module/concurrency.hpp"
#include "ngx_module/cors.hpp"
#include "ngx_module/hosts.hpp"
#include "ngx_module/key_hash.hpp"
#include "ngx_module/keys.hpp"
#include "ngx_module/pool_conf.hpp"
#include "ngx_module/priority.hpp"
#include "ngx_module/refusal_log.hpp"
#include "ngx_module/security_headers.hpp"

namespace sonogate::ngx_module {

namespace {

constexpr off_t default_max_body_bytes = 25 << 20;
constexpr ngx_msec_t default_upload_wait_ms = 30'000;

char* const conf_error = static_cast<char*>(NGX_CONF_ERROR);

// `sonogate_pass NAME`: the pool may stand further down, so its name is looked up at the merge.
char* set_pass(ngx_conf_t* cf, ngx_command_t*, void* conf) {
    auto& loc = *static_cast<LocConf*>(conf);
    if (loc.pool_name.data != nullptr) {
        return const_cast<char*>("is duplicate");
    }
    loc.pool_name = static_cast<ngx_str_t*>(cf->args->elts)[1];
    loc.where = place_in_conf(cf);
    if (loc.where.data == nullptr || !make_key_secret()) {
        return conf_error;
    }
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    core->handler = content_handler;
    return NGX_CONF_OK;
}

char* set_max_body(ngx_conf_t* cf, ngx_command_t*, void* conf) {
    auto& loc = *static_cast<LocConf*>(conf);
    if (loc.max_body_bytes != NGX_CONF_UNSET) {
        return const_cast<char*>("is duplicate");
    }
    auto* words = static_cast<ngx_str_t*>(cf->args->elts);
    const off_t size = ngx_parse_offset(&words[1]);
    if (size <= 0 || static_cast<std::uint64_t>(size) > shm::max_upload_bytes) {
        return const_cast<char*>("must be a size above zero and of 1024g at the most");
    }
    loc.max_body_bytes = size;
    return NGX_CONF_OK;
}

char* set_upload_wait(ngx_conf_t* cf, ngx_command_t*, void* conf) {
    auto& loc = *static_cast<LocConf*>(conf);
    if (loc.upload_wait_ms != NGX_CONF_UNSET_MSEC) {
        return const_cast<char*>("is duplicate");
    }
    const ngx_int_t ms = ngx_parse_time(&static_cast<ngx_str_t*>(cf->args->elts)[1], 0);
    if (ms <= 0) {
        return const_cast<char*>("must be a time above zero");
    }
    loc.upload_wait_ms = static_cast<ngx_msec_t>(ms);
    return NGX_CONF_OK;
}

char* set_catalog_mode(ngx_conf_t* cf, ngx_command_t*, void* conf) {
    auto& loc = *static_cast<LocConf*>(conf);
    if (loc.catalog != NGX_CONF_UNSET_UINT) {
        return const_cast<char*>("is duplicate");
    }
    auto* words = static_cast<ngx_str_t*>(cf->args->elts);
    const std::string_view mode = view(words[1]);
    const bool open = cf->args->nelts == 3 && view(words[2]) == "open";
    if (mode == "off") {
        loc.catalog = catalog_off;
    } else if (mode == "read") {
        loc.catalog = catalog_read;
    } else if (mode == "write") {
        loc.catalog = catalog_write;
    } else {
        return const_cast<char*>("must be off, read, write or write open");
    }
    if (cf->args->nelts == 3 && (!open || mode != "write")) {
        return const_cast<char*>("knows only open, and only after write");
    }
    loc.catalog_open = open ? 1 : 0;
    return NGX_CONF_OK;
}

char* refuse(ngx_conf_t* cf, const LocConf& loc, const char* why) noexcept {
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"sonogate_pass %V\" %s in %V", &loc.pool_name, why,
                  &loc.where);
    return conf_error;
}

// An `if` or `limit_except` block is the location it stands in, other nested locations are not.
void inherit_pass(ngx_conf_t* cf, const LocConf& from, LocConf& loc) noexcept {
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    if (loc.pool_name.data != nullptr || !(core->noname || core->lmt_excpt)) {
        return;
    }
    loc.pool_name = from.pool_name;
    loc.where = from.where;
    if (core->lmt_excpt && core->handler == nullptr && loc.pool_name.data != nullptr) {
        core->handler = content_handler;
    }
}

// The level above a server's has none.
bool share_api(ngx_conf_t* cf, const LocConf& from, LocConf& loc) noexcept {
    loc.api = from.api != nullptr ? from.api
                                  : static_cast<LocConf**>(ngx_pcalloc(cf->pool, sizeof(LocConf*)));
    return loc.api != nullptr;
}

char* resolve(ngx_conf_t* cf, LocConf& loc, bool max_body_is_default) noexcept {
    auto* main =
        static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_sonogate_module));
    loc.pool = find_pool(*main, view(loc.pool_name));
    if (loc.pool == nullptr) {
        return refuse(cf, loc, "names a sonogate_pool that is not there");
    }
    const auto memory = static_cast<off_t>(loc.pool->settings.upload_memory_bytes);
    if (loc.max_body_bytes > memory) {
        return refuse(cf, loc,
                      max_body_is_default
                          ? "has the default sonogate_max_body of 25m, above the upload_memory of "
                            "its pool"
                          : "has a sonogate_max_body above the upload_memory of its pool");
    }
    if (loc.catalog == catalog_write && loc.catalog_open == 0 && loc.keys == nullptr) {
        return refuse(
            cf, loc,
            "has sonogate_catalog write, which needs sonogate_keys; say write open to let "
            "everybody who reaches the location change the catalog");
    }
    if (*loc.api == nullptr) {
        *loc.api = &loc;
    }
    // nginx would refuse by its own before any phase of ours, and log it as an error: the gate
    // looks at what is declared, body_limit at what is not.
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    core->client_max_body_size = 0;
    return NGX_CONF_OK;
}

}  // namespace

ngx_command_t commands[] = {
    {ngx_string("sonogate_pool"), NGX_HTTP_MAIN_CONF | NGX_CONF_BLOCK | NGX_CONF_TAKE1,
     reinterpret_cast<char* (*)(ngx_conf_t*, ngx_command_t*, void*)>(set_pool),
     NGX_HTTP_MAIN_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_pass"), NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF | NGX_CONF_TAKE1, set_pass,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_max_body"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_max_body,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_max_audio"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_time_limit,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, limits.max_audio_ms), nullptr},
    {ngx_string("sonogate_min_audio"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_time_limit,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, limits.min_audio_ms), nullptr},
    {ngx_string("sonogate_max_decoded"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_size_limit,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, limits.max_decoded_bytes), nullptr},
    {ngx_string("sonogate_max_channels"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_channel_limit,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, limits.max_channels), nullptr},
    {ngx_string("sonogate_formats"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE, set_formats,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, limits.formats), nullptr},
    {ngx_string("sonogate_body_timeout"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_time_limit,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, limits.body_timeout_ms), nullptr},
    {ngx_string("sonogate_min_receive_rate"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12, set_receive_rate,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, limits), nullptr},
    {ngx_string("sonogate_log_level"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_enum_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, log_level),
     refusal_levels},
    {ngx_string("sonogate_catalog"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12, set_catalog_mode,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_keys"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_keys,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_cors"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE, set_cors,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_hosts"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE, set_hosts,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_security_headers"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_enum_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, security_headers),
     security_headers_names},
    {ngx_string("sonogate_upload_wait"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_upload_wait,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_rate_zone"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE12, set_rate_zone,
     NGX_HTTP_MAIN_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_rate"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE, set_rate,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_rate_headers"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_enum_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, rate_headers),
     rate_header_styles},
    {ngx_string("sonogate_cache"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_FLAG,
     ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, cache), nullptr},
    {ngx_string("sonogate_concurrency"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12, set_concurrency,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("sonogate_priority"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_priority,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_null_command};

ngx_str_t place_in_conf(ngx_conf_t* cf) noexcept {
    const ngx_str_t& file = cf->conf_file->file.name;
    const std::size_t room = file.len + NGX_INT_T_LEN + 2;
    auto* text = static_cast<u_char*>(ngx_pnalloc(cf->pool, room));
    if (text == nullptr) {
        return {0, nullptr};
    }
    const u_char* end = ngx_snprintf(text, room, "%V:%ui", &file, cf->conf_file->line);
    return {static_cast<std::size_t>(end - text), text};
}

void* create_main_conf(ngx_conf_t* cf) noexcept {
    auto* main = static_cast<MainConf*>(ngx_pcalloc(cf->pool, sizeof(MainConf)));
    // NOLINTBEGIN(bugprone-sizeof-expression): they hold pointers
    if (main == nullptr || ngx_array_init(&main->pools, cf->pool, 1, sizeof(Pool*)) != NGX_OK ||
        ngx_array_init(&main->rate_zones, cf->pool, 2, sizeof(RateZone*)) != NGX_OK) {
        // NOLINTEND(bugprone-sizeof-expression)
        return nullptr;
    }
    return main;
}

void* create_loc_conf(ngx_conf_t* cf) noexcept {
    auto* loc = static_cast<LocConf*>(ngx_pcalloc(cf->pool, sizeof(LocConf)));
    if (loc == nullptr) {
        return nullptr;
    }
    loc->max_body_bytes = NGX_CONF_UNSET;
    unset(loc->limits);
    loc->log_level = NGX_CONF_UNSET_UINT;
    loc->upload_wait_ms = NGX_CONF_UNSET_MSEC;
    loc->catalog = NGX_CONF_UNSET_UINT;
    loc->catalog_open = NGX_CONF_UNSET_UINT;
    loc->keys = static_cast<KeyTable*>(NGX_CONF_UNSET_PTR);
    loc->cors = static_cast<CorsConf*>(NGX_CONF_UNSET_PTR);
    loc->hosts = static_cast<ngx_array_t*>(NGX_CONF_UNSET_PTR);
    loc->security_headers = NGX_CONF_UNSET_UINT;
    loc->rate_headers = NGX_CONF_UNSET_UINT;
    loc->cache = NGX_CONF_UNSET;
    loc->concurrency = static_cast<Concurrency*>(NGX_CONF_UNSET_PTR);
    loc->priority = static_cast<PriorityConf*>(NGX_CONF_UNSET_PTR);
    return loc;
}

char* merge_loc_conf(ngx_conf_t* cf, void* parent, void* child) noexcept {
    const auto& from = *static_cast<LocConf*>(parent);
    auto& loc = *static_cast<LocConf*>(child);
    const bool unset_here = loc.max_body_bytes == NGX_CONF_UNSET;
    const bool max_body_is_default = unset_here && from.max_body_bytes == NGX_CONF_UNSET;
    if (unset_here) {
        loc.max_body_bytes = from.max_body_bytes;
    }
    const char* contradiction = merge(from.limits, loc.limits);
    ngx_conf_merge_uint_value(loc.log_level, from.log_level, NGX_LOG_INFO);
    ngx_conf_merge_msec_value(loc.upload_wait_ms, from.upload_wait_ms, default_upload_wait_ms);
    ngx_conf_merge_uint_value(loc.catalog_open, from.catalog_open, 0);
    ngx_conf_merge_uint_value(loc.catalog, from.catalog, catalog_read);
    ngx_conf_merge_ptr_value(loc.keys, from.keys, nullptr);
    ngx_conf_merge_ptr_value(loc.cors, from.cors, nullptr);
    ngx_conf_merge_ptr_value(loc.hosts, from.hosts, nullptr);
    ngx_conf_merge_uint_value(loc.security_headers, from.security_headers, NGX_CONF_UNSET_UINT);
    ngx_conf_merge_ptr_value(loc.concurrency, from.concurrency, nullptr);
    ngx_conf_merge_ptr_value(loc.priority, from.priority, nullptr);
    if (char* merged = merge_rates(cf, from, loc); merged != NGX_CONF_OK) {
        return merged;
    }
    ngx_conf_merge_value(loc.cache, from.cache, 1);
    if (!share_api(cf, from, loc)) {
        return conf_error;
    }
    inherit_pass(cf, from, loc);
    warn_of_idle_keys(cf, loc);
    if (loc.pool_name.data == nullptr) {
        return NGX_CONF_OK;
    }
    if (contradiction != nullptr) {
        return refuse(cf, loc, contradiction);
    }
    if (max_body_is_default) {
        loc.max_body_bytes = default_max_body_bytes;
    }
    return resolve(cf, loc, max_body_is_default);
}

}  // namespace sonogate::ngx_module
