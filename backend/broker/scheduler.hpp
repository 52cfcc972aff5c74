// Who is next: jobs that wait for a worker of their class, or for the librarian, first come first
// served.
//
// For: the order and the length of queues. Not for: what a job is (job.hpp), who is free
// (pool.hpp), nor upload memory (admission.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <optional>

namespace sonogate::broker {

// Two classes of workers, so that a short job never waits behind a long one; the kernel shares the
// cores between them by niceness. The librarian has a queue of its own.
enum class Lane : std::uint8_t { short_jobs = 0, long_jobs, librarian, count_ };
inline constexpr std::size_t lane_count = static_cast<std::size_t>(Lane::count_);

class Scheduler {
  public:
    void set_limits(std::uint32_t queue_jobs, std::uint32_t workers_each_class) noexcept {
        queue_jobs_ = queue_jobs;
        workers_ = std::max(1U, workers_each_class);
    }

    // False where the queues are full: a new job is refused.
    bool has_room() const noexcept { return depth() < queue_jobs_; }

    void push(Lane lane, std::uint64_t number, std::uint64_t estimate_us) {
        of(lane).jobs.push_back({number, estimate_us});
        of(lane).waiting_us += estimate_us;
    }

    // A job that was taken and comes back (its worker died, or was full): it keeps its turn.
    void push_front(Lane lane, std::uint64_t number, std::uint64_t estimate_us) {
        of(lane).jobs.push_front({number, estimate_us});
        of(lane).waiting_us += estimate_us;
    }

    std::optional<std::uint64_t> front(Lane lane) const {
        const auto& jobs = of(lane).jobs;
        return jobs.empty() ? std::nullopt : std::optional(jobs.front().number);
    }

    void pop(Lane lane) {
        auto& queue = of(lane);
        queue.waiting_us -= queue.jobs.front().estimate_us;
        queue.jobs.pop_front();
    }

    // A job that waits no more: cancelled, or past its time.
    void erase(Lane lane, std::uint64_t number) {
        auto& queue = of(lane);
        const auto found = std::find_if(queue.jobs.begin(), queue.jobs.end(),
                                        [&](const Waiting& w) { return w.number == number; });
        if (found != queue.jobs.end()) {
            queue.waiting_us -= found->estimate_us;
            queue.jobs.erase(found);
        }
    }

    std::size_t depth() const noexcept {
        std::size_t sum = 0;
        for (const auto& queue : queues_) {
            sum += queue.jobs.size();
        }
        return sum;
    }

    // How long a job that came now would wait for its turn, beside what runs already.
    std::uint64_t expected_wait_us(Lane lane) const noexcept {
        return of(lane).waiting_us / (lane == Lane::librarian ? 1 : workers_);
    }

    // The longest of the lanes: what a client that is told nothing better should expect.
    std::uint64_t expected_wait_us() const noexcept {
        std::uint64_t most = 0;
        for (std::size_t i = 0; i < lane_count; ++i) {
            most = std::max(most, expected_wait_us(static_cast<Lane>(i)));
        }
        return most;
    }

    // What a refused client is told to wait: the queue's length in time, 1 to 60 seconds.
    std::uint32_t retry_after_s() const noexcept {
        return static_cast<std::uint32_t>(
            std::clamp<std::uint64_t>(expected_wait_us() / 1'000'000 + 1, 1, 60));
    }

  private:
    struct Waiting {
        std::uint64_t number;
        std::uint64_t estimate_us;
    };
    struct Queue {
        std::deque<Waiting> jobs;
        std::uint64_t waiting_us = 0;
    };

    Queue& of(Lane lane) noexcept { return queues_[static_cast<std::size_t>(lane)]; }
    const Queue& of(Lane lane) const noexcept { return queues_[static_cast<std::size_t>(lane)]; }

    std::array<Queue, lane_count> queues_;
    std::uint32_t queue_jobs_ = 256;
    std::uint32_t workers_ = 1;
};

}  // namespace sonogate::broker
