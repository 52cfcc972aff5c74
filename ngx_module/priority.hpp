// sonogate_priority, and who asks: what the broker's scheduler is fair by.
//
// For: conf.cpp, and the gate, which sends both with the ticket and with the job. Not for: the
// order itself; that is the broker's (broker/fair_queue.hpp).
#pragma once

#include "ngx_module/caller_key.hpp"
#include "ngx_module/pending.hpp"

namespace sonogate::ngx_module {

struct PriorityConf {
    shm::Priority fixed = shm::Priority::interactive;
    bool varies = false;
    CallerKey word;  // where it varies
};

// `sonogate_priority interactive | batch | $VARIABLE`.
char* set_priority(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

// Writes into the job who asks and how urgently. False where memory is short.
bool set_turn(Request& request, Job& job) noexcept;

}  // namespace sonogate::ngx_module
