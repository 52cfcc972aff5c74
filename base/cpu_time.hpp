// Time that a process had of the processors.
//
// For: what a job really cost, whatever else ran meanwhile. Not for: deadlines (clock.hpp).
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>

namespace sonogate {

// Of this process; 0 where the kernel does not tell. A system call, some 300 ns.
inline std::uint64_t cpu_ns() noexcept {
    timespec t{};
    if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(t.tv_nsec);
}

// Of another process; 0 where it is gone.
inline std::uint64_t cpu_ns_of(pid_t pid) noexcept {
    clockid_t clock{};
    timespec t{};
    if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &t) != 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(t.tv_nsec);
}

}  // namespace sonogate
