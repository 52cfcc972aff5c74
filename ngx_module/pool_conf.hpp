// The sonogate_pool block.
//
// For: conf.cpp. Not for: anything else.
#pragma once

#include "ngx_module/conf.hpp"

namespace sonogate::ngx_module {

// `sonogate_pool NAME { … }` in http.
char* set_pool(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

Pool* find_pool(const MainConf& main, std::string_view name) noexcept;

}  // namespace sonogate::ngx_module
