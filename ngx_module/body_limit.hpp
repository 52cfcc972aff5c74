// sonogate_max_body where a body comes without saying how long it is.
//
// For: module.cpp, which installs it. Not for: a declared length, which the gate looks at.
#pragma once

#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

// Postconfiguration of the filter module.
void install_body_limit() noexcept;

}  // namespace sonogate::ngx_module
