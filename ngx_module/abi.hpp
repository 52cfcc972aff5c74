// Whether the nginx that loaded us has the structures we were compiled with.
//
// For: the start of nginx. Debian adds a bit to ngx_connection_t, and neither nginx's version nor
// the module signature shows it: a module built on other headers loads and misreads the bits.
#pragma once

#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

bool has_our_structures(ngx_log_t* log) noexcept;

}  // namespace sonogate::ngx_module
