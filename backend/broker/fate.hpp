// How a process ended, from the status that waitpid(2) gives.
//
// For: the log, and whose fault it was (blame.hpp, pool.hpp). Not for: noticing that it ended.
#pragma once

#include <sys/wait.h>

#include <csignal>
#include <string>

namespace sonogate::broker {

// "signal 11", "status 1".
inline std::string fate(int status) {
    if (WIFSIGNALED(status)) {
        return "signal " + std::to_string(WTERMSIG(status));
    }
    return "status " + std::to_string(WEXITSTATUS(status));
}

// Of itself: SIGKILL comes from others, and 0 is how it ends when it is told to.
inline bool is_fault(int status) {
    return WIFSIGNALED(status) ? WTERMSIG(status) != SIGKILL : WEXITSTATUS(status) != 0;
}

}  // namespace sonogate::broker
