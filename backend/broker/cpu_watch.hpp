// What the job that a worker is at has had of the processor, seen from outside; or the pause
// between two.
//
// For: ending a worker that asks nobody whether to go on: a decoder in an endless loop, one long
// transform; and one that works without a job. Not for: accounts; a worker tells what its jobs took
// (JobDone::cpu_us).
#pragma once

#include <cstdint>

#include "base/cpu_time.hpp"

namespace sonogate::broker {

class CpuWatch {
  public:
    // The pause after so many jobs, as a job's number: no job ever has it.
    static constexpr std::uint64_t between_jobs(std::uint32_t jobs) noexcept {
        return ~std::uint64_t{jobs};
    }

    // Since the first look at that job, so up to the time between two looks too little.
    std::uint64_t used_ns(std::uint64_t job, std::int32_t pid) noexcept {
        const std::uint64_t now_ns = cpu_ns_of(pid).value_or(0);
        if (job != job_ || now_ns < began_ns_) {
            job_ = job;
            began_ns_ = now_ns;
        }
        return now_ns - began_ns_;
    }

  private:
    std::uint64_t job_ = 0;
    std::uint64_t began_ns_ = 0;
};

}  // namespace sonogate::broker
