// Whether a process shows a sign of life: one that is stopped, or hangs in the kernel, uses no CPU
// time, and one that works, or wakes up each second, does.
//
// For: the broker's look at those that should: a worker with a job, the librarian, the zygote. The
// kernel counts, so no process has to remember to beat, and a transform that takes a minute is no
// silence. Not for: work that does not end (deadlines are in jobs.cpp), nor for who idles asleep.
#pragma once

#include <cstdint>

#include "base/cpu_time.hpp"

namespace sonogate::broker {

class Heartbeat {
  public:
    static constexpr std::uint64_t longest_silence_ns = 3'000'000'000;
    // Of one that opens its store: a disk may keep it waiting.
    static constexpr std::uint64_t longest_start_ns = 30'000'000'000;
    // Whoever was not looked at for so long is seen for the first time: it was idle until now, or
    // we were stopped ourselves, with everybody else perhaps.
    static constexpr std::uint64_t longest_absence_ns = 2'000'000'000;

    // True where that process used no CPU time for longer than that. To be called at least each
    // second while it matters.
    bool is_silent(std::int32_t pid, std::uint64_t now_ns,
                   std::uint64_t longest_ns = longest_silence_ns) noexcept {
        const auto used_ns = cpu_ns_of(pid);  // none where its closed socket tells soon
        if (!used_ns || *used_ns != used_ns_ || now_ns - looked_ns_ > longest_absence_ns) {
            alive_ns_ = now_ns;
        }
        used_ns_ = used_ns.value_or(0);
        looked_ns_ = now_ns;
        return now_ns - alive_ns_ > longest_ns;
    }

  private:
    std::uint64_t used_ns_ = 0;
    std::uint64_t looked_ns_ = 0;
    std::uint64_t alive_ns_ = 0;
};

}  // namespace sonogate::broker
