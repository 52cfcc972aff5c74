// Query arguments into packed parameters.
//
// For: `name=value&…` as it stands in the request line. Not for: what a value means. Knows nothing
// of nginx.
#pragma once

#include <span>
#include <string_view>

#include "base/result.hpp"
#include "shm/params.hpp"

namespace sonogate::ngx_module {

// Adds every argument that names a parameter, percent-decoded, `+` as a blank; others are ignored,
// so are the names of JSON members that are the input itself. `scratch` is as long as `query`.
// Errors: invalid_parameter, named, where one is repeated or its encoding is broken;
// malformed_request where the parameters do not fit.
Result<void> read_query(std::string_view query, std::span<char> scratch,
                        shm::ParamsWriter& params) noexcept;

}  // namespace sonogate::ngx_module
