// $sonogate_… variables, for log_format and add_header.
//
// For: module.cpp. docs/directives.md lists them.
#pragma once

#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

// Preconfiguration.
ngx_int_t add_variables(ngx_conf_t* cf);

}  // namespace sonogate::ngx_module
