// Time that a process had of the processors.
//
// For: what a job really cost, whatever else ran meanwhile; whether a process works at all. Not
// for: deadlines (clock.hpp).
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <optional>

namespace sonogate {

// What a clock of processor time shows; none where the kernel does not tell. A system call, some
// 300 ns.
inline std::optional<std::uint64_t> cpu_clock_ns(clockid_t clock) noexcept {
    timespec t{};
    if (::clock_gettime(clock, &t) != 0) {
        return std::nullopt;
    }
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(t.tv_nsec);
}

// Of all threads of this process; 0 where the kernel does not tell.
inline std::uint64_t cpu_ns() noexcept {
    return cpu_clock_ns(CLOCK_PROCESS_CPUTIME_ID).value_or(0);
}

// Of all threads of another process; none where it is gone. Pid 0 would be this one.
inline std::optional<std::uint64_t> cpu_ns_of(pid_t pid) noexcept {
    clockid_t clock{};
    return ::clock_getcpuclockid(pid, &clock) == 0 ? cpu_clock_ns(clock) : std::nullopt;
}

}  // namespace sonogate
