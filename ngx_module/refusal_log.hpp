// One line in the error log for each refusal, and one for all that would repeat it.
//
// For: refusals of ours, and nginx's own in our locations. Not for: what the gate decides.
#pragma once

#include "base/result.hpp"
#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

class Request;

// Levels that sonogate_log_level takes.
extern ngx_conf_enum_t refusal_levels[];

// Writes a refusal's line, or counts it where its kind has filled this second. The count is written
// at the second's end, by a timer of the worker's.
void log_refusal(const Request& request, const Failure& why) noexcept;

// What was counted and not yet told; at the end of a worker.
void flush_refusal_log() noexcept;

}  // namespace sonogate::ngx_module
