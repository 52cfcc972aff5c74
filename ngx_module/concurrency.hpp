// sonogate_concurrency: how many jobs of one caller may be worked on at once.
//
// For: conf.cpp, and the gate, which sends whose job it is with the ticket. Not for: counting; that
// is the broker's, who learns of every end (broker/callers.hpp).
#pragma once

#include "ngx_module/caller_key.hpp"
#include "ngx_module/pending.hpp"

namespace sonogate::ngx_module {

struct Concurrency {
    CallerKey key;
    std::uint16_t most_at_once = 0;  // 0: off
};

// `sonogate_concurrency N [key=KEY] | off`.
char* set_concurrency(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

// Writes into the job whose it is. False where memory is short.
bool set_caller(Request& request, Job& job) noexcept;

}  // namespace sonogate::ngx_module
