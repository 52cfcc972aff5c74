#include "ngx_module/hosts.hpp"

#include <algorithm>

#include "ngx_module/conf.hpp"
#include "ngx_module/request.hpp"

namespace sonogate::ngx_module {

namespace {

constexpr std::string_view wildcard = "*.";

// A name as nginx has a request's: in lower case, without port and without a last dot.
bool is_plain_name(std::string_view name) noexcept {
    if (name.starts_with('[')) {
        return name.size() > 2 &&
               name.find_first_not_of("0123456789abcdef:.", 1) == name.size() - 1 &&
               name.ends_with(']');
    }
    name.remove_prefix(name.starts_with(wildcard) ? wildcard.size() : 0);
    return !name.empty() && !name.starts_with('.') && !name.ends_with('.') &&
           std::all_of(name.begin(), name.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                      c == '_';
           });
}

// A wildcard is any depth of subdomains, not the domain itself.
bool is_meant(std::string_view pattern, std::string_view host) noexcept {
    if (!pattern.starts_with(wildcard)) {
        return host == pattern;
    }
    pattern.remove_prefix(1);
    return host.size() > pattern.size() && host.ends_with(pattern);
}

}  // namespace

char* set_hosts(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& loc = *static_cast<LocConf*>(conf);
    if (loc.hosts != NGX_CONF_UNSET_PTR) {
        return const_cast<char*>("is duplicate");
    }
    auto* words = static_cast<ngx_str_t*>(cf->args->elts);
    if (cf->args->nelts == 2 && view(words[1]) == "off") {
        loc.hosts = nullptr;
        return NGX_CONF_OK;
    }
    loc.hosts = ngx_array_create(cf->pool, cf->args->nelts - 1, sizeof(ngx_str_t));
    if (loc.hosts == nullptr) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; ++i) {
        ngx_strlow(words[i].data, words[i].data, words[i].len);
        if (!is_plain_name(view(words[i]))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "sonogate_hosts: \"%V\" is no host name: write it without scheme, "
                               "port and path, and a * only as its first label",
                               &words[i]);
            return static_cast<char*>(NGX_CONF_ERROR);
        }
        *static_cast<ngx_str_t*>(ngx_array_push(loc.hosts)) = words[i];  // there is room
    }
    return NGX_CONF_OK;
}

bool is_host_known(const Request& request) noexcept {
    const ngx_array_t* hosts = request.conf->hosts;
    if (hosts == nullptr || request.route.place != Place::job) {
        return true;
    }
    const auto* first = static_cast<const ngx_str_t*>(hosts->elts);
    const std::string_view host = view(request.r->headers_in.server);
    return std::any_of(first, first + hosts->nelts,
                       [host](const ngx_str_t& name) { return is_meant(view(name), host); });
}

}  // namespace sonogate::ngx_module
