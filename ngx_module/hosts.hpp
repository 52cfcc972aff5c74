// `sonogate_hosts`: which names this server answers to.
//
// For: refusing a request that was meant for somebody else, a rebound DNS name among them. Not for:
// choosing a server block (nginx's server_name).
#pragma once

#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

class Request;

// `sonogate_hosts off | NAME…`, a name perhaps `*.DOMAIN`.
char* set_hosts(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

// Whether the host is one of the location's. Probes of /health and /ready, which know an address
// and no name, always are.
bool is_host_known(const Request& request) noexcept;

}  // namespace sonogate::ngx_module
