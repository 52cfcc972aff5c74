// The header and body filter of sonogate locations.
//
// For: module.cpp, which installs them. Not for: anything else.
#pragma once

#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

// Postconfiguration of the filter module.
ngx_int_t install_filters(ngx_conf_t* cf);

}  // namespace sonogate::ngx_module
