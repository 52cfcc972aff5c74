#include "ngx_module/concurrency.hpp"

#include <new>

#include "ngx_module/key_hash.hpp"
#include "ngx_module/request.hpp"

namespace sonogate::ngx_module {

namespace {

constexpr std::string_view key_prefix = "key=";

}  // namespace

char* set_concurrency(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& loc = *static_cast<LocConf*>(conf);
    if (loc.concurrency != NGX_CONF_UNSET_PTR) {
        return const_cast<char*>("is duplicate");
    }
    auto* words = static_cast<ngx_str_t*>(cf->args->elts);
    const bool has_key = cf->args->nelts == 3;
    void* memory = ngx_palloc(cf->pool, sizeof(Concurrency));
    if (memory == nullptr || !make_key_secret()) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    loc.concurrency = new (memory) Concurrency;
    if (!has_key && view(words[1]) == "off") {
        return NGX_CONF_OK;
    }
    const ngx_int_t most = ngx_atoi(words[1].data, words[1].len);
    if (most < 1 || most > UINT16_MAX) {
        return const_cast<char*>("must be off or a number from 1 to 65535");
    }
    loc.concurrency->most_at_once = static_cast<std::uint16_t>(most);
    std::string_view key = default_caller_key;
    if (has_key) {
        key = view(words[2]);
        if (!key.starts_with(key_prefix)) {
            return const_cast<char*>("knows only key= after the number");
        }
        key.remove_prefix(key_prefix.size());
    }
    return loc.concurrency->key.compile(cf, key) ? NGX_CONF_OK : static_cast<char*>(NGX_CONF_ERROR);
}

bool set_caller(Request& request, Job& job) noexcept {
    const Concurrency* concurrency = request.conf->concurrency;
    if (concurrency == nullptr || concurrency->most_at_once == 0) {
        return true;
    }
    job.most_at_once = concurrency->most_at_once;
    return concurrency->key.hash(request, job.caller);
}

}  // namespace sonogate::ngx_module
