#include "ngx_module/priority.hpp"

#include <new>

#include "ngx_module/request.hpp"

namespace sonogate::ngx_module {

namespace {

bool read_priority(std::string_view word, shm::Priority& out) noexcept {
    if (word == "batch") {
        out = shm::Priority::batch;
        return true;
    }
    out = shm::Priority::interactive;
    return word == "interactive";
}

}  // namespace

char* set_priority(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& loc = *static_cast<LocConf*>(conf);
    if (loc.priority != NGX_CONF_UNSET_PTR) {
        return const_cast<char*>("is duplicate");
    }
    const std::string_view word = view(static_cast<ngx_str_t*>(cf->args->elts)[1]);
    void* memory = ngx_palloc(cf->pool, sizeof(PriorityConf));
    if (memory == nullptr) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    loc.priority = new (memory) PriorityConf;
    if (read_priority(word, loc.priority->fixed)) {
        return NGX_CONF_OK;
    }
    if (word.find('$') == std::string_view::npos) {
        return const_cast<char*>("must be interactive, batch or a variable that is one of them");
    }
    loc.priority->varies = true;
    return loc.priority->word.compile(cf, word) ? NGX_CONF_OK : static_cast<char*>(NGX_CONF_ERROR);
}

bool set_turn(Request& request, Job& job) noexcept {
    const PriorityConf* priority = request.conf->priority;
    job.identity = request.identity_hash();
    if (priority == nullptr) {
        return true;
    }
    job.priority = priority->fixed;
    std::string_view word;
    if (priority->varies) {
        if (!priority->word.read(request.r, word)) {
            return false;
        }
        (void)read_priority(word, job.priority);  // what is neither is interactive
    }
    return true;
}

}  // namespace sonogate::ngx_module
