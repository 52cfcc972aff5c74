#include "worker/meter.hpp"

#include <algorithm>
#include <limits>

#include "base/clock.hpp"
#include "base/cpu_time.hpp"
#include "base/heap.hpp"

namespace sonogate::worker {

namespace {

// What a worker may keep of a job's memory for the next one: beyond, faulting it in again is little
// beside the job that needs it.
constexpr std::uint64_t most_kept_bytes = 16U << 20U;

// The least time after which look() can come to something.
std::uint64_t first_bound_ns(const shm::Job& job) noexcept {
    std::uint64_t out = std::numeric_limits<std::uint64_t>::max();
    if (job.cpu_ms != 0) {
        out = std::uint64_t{job.cpu_ms} * 1'000'000U;
    }
    return job.short_job.cpu_us == 0 ? out
                                     : std::min(out, std::uint64_t{job.short_job.cpu_us} * 1'000U);
}

}  // namespace

Meter::Meter(const shm::Job& job) noexcept
    : job_(job),
      short_ns_(std::uint64_t{job.short_job.cpu_us} * 1'000U),
      began_ns_(now_ns()),
      began_cpu_ns_(cpu_ns()),
      look_after_ns_(first_bound_ns(job)),
      heap_before_bytes_(thread_heap_bytes()) {
    reset_thread_heap_peak();
}

// One thread has no more processor time than there was time at all, so a young job costs no call.
Meter::Verdict Meter::look() noexcept {
    if (verdict_ != Verdict::goes_on || now_ns() - began_ns_ <= look_after_ns_) {
        return verdict_;
    }
    const std::uint64_t used_ns = cpu_ns() - began_cpu_ns_;
    if (job_.cpu_ms != 0 && used_ns > std::uint64_t{job_.cpu_ms} * 1'000'000U) {
        verdict_ = Verdict::too_much_cpu;
    } else if (short_ns_ != 0 && used_ns > short_ns_) {
        verdict_ = Verdict::is_long;
    }
    return verdict_;
}

Meter::Verdict Meter::expect(shm::AudioFormat format, std::uint64_t samples) noexcept {
    const auto i = static_cast<std::size_t>(format);
    const auto& most = job_.short_job.most_ksamples;
    if (verdict_ == Verdict::goes_on && i < most.size() && most[i] != 0) {
        verdict_ = samples / 1024 > most[i] ? Verdict::is_long : Verdict::goes_on;
        short_ns_ *= 2;
    }
    return verdict_;
}

void Meter::report(shm::JobDone& done) noexcept {
    done.cpu_us = (cpu_ns() - began_cpu_ns_) / 1000U;
    done.heap_before_bytes = heap_before_bytes_;
    done.heap_peak_bytes = thread_heap_peak_bytes();
    done.heap_after_bytes = thread_heap_bytes();
    if (done.heap_peak_bytes > most_kept_bytes) {
        give_pages_back();
    }
}

}  // namespace sonogate::worker
