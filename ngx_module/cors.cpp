#include "ngx_module/cors.hpp"

#include <algorithm>

#include "ngx_module/conf.hpp"
#include "ngx_module/headers.hpp"
#include "ngx_module/request.hpp"

namespace sonogate::ngx_module {

namespace {

char* const conf_error = static_cast<char*>(NGX_CONF_ERROR);

// What the API reads beside the headers that a page may always send.
constexpr std::string_view default_allow_headers =
    "Authorization, Content-Type, X-Api-Key, X-Request-Id, Prefer, Cache-Control, If-None-Match, "
    "traceparent, tracestate";
constexpr std::string_view default_expose_headers =
    "X-Request-Id, Server-Timing, Cache-Status, ETag, Location, Allow, Retry-After, RateLimit, "
    "RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
    "WWW-Authenticate";
// Where the path is none of ours: the page shall see the 404 of its request, not a failed
// preflight.
constexpr std::string_view all_methods = "GET, HEAD, POST, PATCH, DELETE";

CorsConf* make_conf(ngx_pool_t* pool) noexcept {
    auto* cors = static_cast<CorsConf*>(ngx_pcalloc(pool, sizeof(CorsConf)));
    if (cors == nullptr ||
        ngx_array_init(&cors->origins, pool, 4, sizeof(OriginPattern)) != NGX_OK) {
        return nullptr;
    }
    cors->max_age_s = borrowed("7200");  // the most that Chromium keeps
    cors->allow_headers = borrowed(default_allow_headers);
    cors->expose_headers = borrowed(default_expose_headers);
    return cors;
}

const char* add_origin(ngx_pool_t* pool, CorsConf& cors, std::string_view text) noexcept {
    if (text == "*") {
        cors.any_origin = true;
        return nullptr;
    }
    auto* room = static_cast<char*>(ngx_pnalloc(pool, text.size() + 1));
    auto* origin = static_cast<OriginPattern*>(ngx_array_push(&cors.origins));
    if (room == nullptr || origin == nullptr) {
        return "has no memory";
    }
    return read_origin(text, {room, text.size()}, *origin);
}

bool is_token_list(std::string_view list) noexcept {
    constexpr std::string_view marks = "!#$%&'*+-.^_`|~,";
    return !list.empty() && std::all_of(list.begin(), list.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               marks.find(c) != std::string_view::npos;
    });
}

// Adds the comma list to those names that are always there.
const char* add_names(ngx_pool_t* pool, std::string_view list, ngx_str_t& names) noexcept {
    if (!is_token_list(list)) {
        return "is no comma list of header names";
    }
    const std::size_t size = names.len + 2 + list.size();
    auto* text = static_cast<u_char*>(ngx_pnalloc(pool, size));
    if (text == nullptr) {
        return "has no memory";
    }
    const ngx_str_t added = borrowed(list);
    ngx_snprintf(text, size, "%V, %V", &names, &added);
    names = {size, text};
    return nullptr;
}

const char* set_max_age(ngx_pool_t* pool, std::string_view text, CorsConf& cors) noexcept {
    ngx_str_t time = borrowed(text);
    const ngx_int_t seconds = ngx_parse_time(&time, 1);
    auto* digits = static_cast<u_char*>(ngx_pnalloc(pool, NGX_INT_T_LEN));
    if (seconds < 0 || digits == nullptr) {
        return "is no time";
    }
    const u_char* end = ngx_snprintf(digits, NGX_INT_T_LEN, "%i", seconds);
    cors.max_age_s = {static_cast<std::size_t>(end - digits), digits};
    return nullptr;
}

// Null, or why the word cannot be.
const char* set_word(ngx_pool_t* pool, CorsConf& cors, std::string_view word) noexcept {
    constexpr std::string_view max_age = "max_age=";
    constexpr std::string_view headers = "headers=";
    constexpr std::string_view expose = "expose=";
    if (word == "credentials") {
        cors.credentials = true;
        return nullptr;
    }
    if (word == "private_network") {
        cors.private_network = true;
        return nullptr;
    }
    if (word.starts_with(max_age)) {
        return set_max_age(pool, word.substr(max_age.size()), cors);
    }
    if (word.starts_with(headers)) {
        return add_names(pool, word.substr(headers.size()), cors.allow_headers);
    }
    if (word.starts_with(expose)) {
        return add_names(pool, word.substr(expose.size()), cors.expose_headers);
    }
    return add_origin(pool, cors, word);
}

// What only the whole shows.
const char* check(const CorsConf& cors) noexcept {
    if (cors.any_origin && cors.credentials) {
        return "allows credentials with every origin; browsers refuse that: name the origins";
    }
    if (cors.any_origin && cors.origins.nelts > 0) {
        return "has * and other origins";
    }
    return cors.any_origin || cors.origins.nelts > 0 ? nullptr : "names no origin";
}

bool is_listed(const CorsConf& conf, std::string_view origin) noexcept {
    const auto* first = static_cast<const OriginPattern*>(conf.origins.elts);
    return std::any_of(first, first + conf.origins.nelts,
                       [origin](const OriginPattern& pattern) { return matches(pattern, origin); });
}

void add_preflight_headers(const Request& request, AnswerHeaders& headers) noexcept {
    const CorsConf& conf = *request.cors.conf;
    const std::string_view methods = request.route.allow;
    headers.set("Access-Control-Allow-Methods", methods.empty() ? all_methods : methods);
    headers.set("Access-Control-Allow-Headers", view(conf.allow_headers));
    headers.set("Access-Control-Max-Age", view(conf.max_age_s));
    if (conf.private_network &&
        request_header(request.r, "access-control-request-private-network") == "true") {
        headers.set("Access-Control-Allow-Private-Network", "true");
    }
}

}  // namespace

char* set_cors(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& loc = *static_cast<LocConf*>(conf);
    auto* words = static_cast<ngx_str_t*>(cf->args->elts);
    const bool unset = loc.cors == NGX_CONF_UNSET_PTR;
    if (view(words[1]) == "off") {
        if (!unset || cf->args->nelts > 2) {
            return const_cast<char*>("has off beside origins");
        }
        loc.cors = nullptr;
        return NGX_CONF_OK;
    }
    if (loc.cors == nullptr) {
        return const_cast<char*>("has origins beside off");
    }
    if (unset) {
        loc.cors = make_conf(cf->pool);
        if (loc.cors == nullptr) {
            return conf_error;
        }
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; ++i) {
        if (const char* why = set_word(cf->pool, *loc.cors, view(words[i])); why != nullptr) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "sonogate_cors: \"%V\" %s", &words[i], why);
            return conf_error;
        }
    }
    return const_cast<char*>(check(*loc.cors));
}

Cors decide_cors(ngx_http_request_t* r, const CorsConf* conf) noexcept {
    if (conf == nullptr) {
        return {};
    }
    Cors out{.conf = conf, .allowed = conf->any_origin};
    const ngx_table_elt_t* origin = find_request_header(r, "origin");
    if (origin == nullptr) {
        return out;
    }
    // No browser sends several: they are nobody's.
    if (find_request_header(r, "origin", origin) == nullptr) {
        out.origin = view(origin->value);
        out.allowed = out.allowed || is_listed(*conf, out.origin);
    }
    out.preflight = r->method == NGX_HTTP_OPTIONS &&
                    find_request_header(r, "access-control-request-method") != nullptr;
    return out;
}

void add_cors_headers(const Request& request, AnswerHeaders& headers) noexcept {
    const Cors& cors = request.cors;
    if (cors.conf == nullptr) {
        return;
    }
    if (!cors.conf->any_origin) {
        headers.add_word("Vary", "Origin");
    }
    if (!cors.allowed) {
        return;
    }
    headers.set("Access-Control-Allow-Origin", cors.conf->any_origin ? "*" : cors.origin);
    if (cors.conf->credentials) {
        headers.set("Access-Control-Allow-Credentials", "true");
    }
    if (cors.preflight) {
        add_preflight_headers(request, headers);
    } else {
        headers.set("Access-Control-Expose-Headers", view(cors.conf->expose_headers));
    }
}

}  // namespace sonogate::ngx_module
