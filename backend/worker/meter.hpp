// What one job uses of its worker, and whether that is too much.
//
// For: run.cpp, which ends the job for it; the intake, which knows first how much audio there is.
// Not for: memory limits (the kernel's RLIMIT_DATA is one), nor deadlines. The broker looks at the
// processor time of a worker too: one that asks nobody is ended from there.
#pragma once

#include <cstdint>

#include "shm/channel_layout.hpp"

namespace sonogate::worker {

class Meter {
  public:
    // From now on.
    explicit Meter(const shm::Job& job) noexcept;

    enum class Verdict : std::uint8_t {
        goes_on,
        too_much_cpu,  // over the job's budget
        is_long,       // not for this worker: another class has it
    };

    // Asked between blocks; cheap while the job is young.
    Verdict look() noexcept;

    // The file has so many samples, of all channels and as far as they are asked for. Where that is
    // short, twice the time is left to prove it.
    Verdict expect(shm::AudioFormat format, std::uint64_t samples) noexcept;

    // What look() and expect() came to.
    Verdict verdict() const noexcept { return verdict_; }

    // The job is over: tells what it took. Gives pages back after one that took much memory.
    void report(shm::JobDone& done) noexcept;

  private:
    const shm::Job& job_;
    Verdict verdict_ = Verdict::goes_on;
    std::uint64_t short_ns_;  // what a worker for short jobs gives it, 0 = any time
    std::uint64_t began_ns_;
    std::uint64_t began_cpu_ns_;
    std::uint64_t look_after_ns_;
    std::uint64_t heap_before_bytes_;
};

}  // namespace sonogate::worker
