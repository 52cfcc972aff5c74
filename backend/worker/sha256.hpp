// SHA-256 of a file's bytes (FIPS 180-4), as 64 lower-case hex digits.
//
// For: the `sha256` of an answer. Not for: cache keys.
#pragma once

#include <functional>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace sonogate::worker {

// `stop_requested` may be empty; it is asked every few megabytes. Errors: cancelled.
Result<std::string> sha256_hex(Bytes bytes, const std::function<bool()>& stop_requested);

}  // namespace sonogate::worker
