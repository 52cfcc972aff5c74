// User names as the kernel knows them.
//
// For: --peer-user. Not for: anything after start: a name is looked up once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace sonogate::broker {

// Errors: not_found where a name is no user.
Result<std::vector<std::uint32_t>> user_ids(const std::vector<std::string>& names);

}  // namespace sonogate::broker
