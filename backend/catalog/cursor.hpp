// Where a listing goes on: an opaque text for clients, a row for the store.
//
// For: GET /v1/tracks. Not for: secrets; whoever alters one gets invalid_parameter or another page.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace sonogate::catalog {

// Rows above `after_row`, at least 0, come next.
std::string make_cursor(std::int64_t after_row);

// Errors: invalid_parameter (cursor).
Result<std::int64_t> read_cursor(std::string_view cursor);

}  // namespace sonogate::catalog
