// Who is next: jobs that wait for a worker of their class, or for the librarian.
//
// For: lanes, the order in each (fair_queue.hpp), and how many may wait in all. Not for: what a job
// is (job.hpp), who is free (pool.hpp), nor upload memory (admission.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "broker/fair_queue.hpp"

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

    // Whether a job may come to those who wait; where they are too many, whether another gives way.
    bool has_room(Lane lane, const Turn& turn) const {
        return depth() < queue_jobs_ || who_gives_way(lane, turn).has_value();
    }

    // Nobody while there is room. Else the last job of the identity that has most of them waiting,
    // where that would still have no less than the newcomer's.
    std::optional<std::uint64_t> who_gives_way(Lane lane, const Turn& turn) const {
        if (depth() < queue_jobs_) {
            return std::nullopt;
        }
        FairQueue::Largest largest;
        for (const FairQueue& queue : queues_) {
            const auto one = queue.largest();
            largest = one.jobs > largest.jobs ? one : largest;
        }
        const std::size_t own = of(lane).size_of(turn.identity, turn.priority);
        return largest.jobs > own + 1 ? std::optional(largest.number) : std::nullopt;
    }

    // As FairQueue's.
    void push(Lane lane, const Turn& turn) { of(lane).push(turn); }
    void push_front(Lane lane, const Turn& turn) { of(lane).push_front(turn); }
    std::optional<std::uint64_t> front(Lane lane) { return of(lane).front(); }
    void pop(Lane lane) { of(lane).pop(); }
    void settle(Lane lane, const Turn& turn, std::uint64_t took_us) {
        of(lane).settle(turn, took_us);
    }
    void erase(Lane lane, const Turn& turn) { of(lane).erase(turn); }
    bool waits(Lane lane, std::uint64_t identity, shm::Priority priority) const {
        return of(lane).size_of(identity, priority) != 0;
    }

    std::size_t depth(Lane lane) const noexcept { return of(lane).size(); }
    std::size_t depth() const noexcept {
        std::size_t sum = 0;
        for (const auto& queue : queues_) {
            sum += queue.size();
        }
        return sum;
    }
    std::size_t identities(Lane lane) const noexcept { return of(lane).identities(); }

    // How long that job would wait if it came now, beside what runs already.
    std::uint64_t expected_wait_us(Lane lane, const Turn& turn) const {
        return of(lane).ahead_us(turn) / servers(lane);
    }

    // How long the last one of those who wait will: what somebody should expect of whom nothing
    // better is known.
    std::uint64_t expected_wait_us(Lane lane) const noexcept {
        return of(lane).waiting_us() / servers(lane);
    }

    // A wait as a refused client is told it: 1 to 60 seconds.
    static std::uint32_t retry_after_s(std::uint64_t wait_us) noexcept {
        return static_cast<std::uint32_t>(
            std::clamp<std::uint64_t>(wait_us / 1'000'000 + 1, 1, 60));
    }

  private:
    FairQueue& of(Lane lane) noexcept { return queues_[static_cast<std::size_t>(lane)]; }
    const FairQueue& of(Lane lane) const noexcept {
        return queues_[static_cast<std::size_t>(lane)];
    }
    std::uint32_t servers(Lane lane) const noexcept {
        return lane == Lane::librarian ? 1 : workers_;
    }

    std::array<FairQueue, lane_count> queues_;
    std::uint32_t queue_jobs_ = 256;
    std::uint32_t workers_ = 1;
};

}  // namespace sonogate::broker
