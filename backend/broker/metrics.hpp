// What the broker counts, and its text for Prometheus.
//
// For: GET /metrics. Not for: what each nginx worker counts (it writes that into its own segment,
// and the sums are taken here). Format: Prometheus text exposition 0.0.4.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "broker/scheduler.hpp"
#include "shm/layout.hpp"

namespace sonogate::broker {

// Counts by upper bound; cumulative only in the text.
template <const auto& Bounds>
class Histogram {
  public:
    static constexpr auto bounds = Bounds;

    void observe(double value) noexcept {
        std::size_t i = 0;
        while (i < bounds.size() && value > bounds[i]) {
            ++i;
        }
        ++counts_[i];
        sum_ += value;
    }

    const std::array<std::uint64_t, bounds.size() + 1>& counts() const noexcept { return counts_; }
    double sum() const noexcept { return sum_; }

  private:
    std::array<std::uint64_t, bounds.size() + 1> counts_{};
    double sum_ = 0;
};

inline constexpr std::array<double, 16> stage_bounds_s = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05,   0.1,     0.25,   0.5,   1,      2.5,   10,   60};
inline constexpr std::array<double, 8> job_memory_bounds_bytes = {
    1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30, 4294967296.0};

enum class StageName : std::uint8_t { receive = 0, queue, decode, compute, search, count_ };

// One process of the daemon, as the metrics show it.
struct ProcessFigures {
    std::string name;
    std::uint64_t allocated_bytes = 0;
    std::uint64_t resident_bytes = 0;
};

using RequestCounts = std::array<std::array<std::uint64_t, shm::counted_statuses.size()>,
                                 shm::counted_endpoint_count>;

// One lane of the scheduler.
struct QueueFigures {
    std::uint64_t jobs = 0;
    std::uint64_t identities = 0;
    std::uint64_t wait_us = 0;
};

// What is true at this moment, gathered by the broker from its parts.
struct Snapshot {
    RequestCounts requests{};
    std::array<QueueFigures, lane_count> queues;
    std::uint32_t workers_ready = 0;
    std::uint32_t workers_wanted = 0;
    std::uint32_t workers_busy = 0;
    std::uint64_t child_deaths = 0;
    std::uint64_t blamed_deaths = 0;
    std::uint64_t quarantined = 0;
    std::uint64_t spent_identities = 0;
    std::uint64_t recycled = 0;
    std::uint32_t worker_sandbox = 0;  // layers that every worker has
    std::uint32_t librarian_sandbox = 0;
    std::uint32_t broker_sandbox = 0;
    std::uint64_t filter_kills = 0;
    std::uint64_t refused_calls = 0;
    std::uint64_t links = 0;
    std::uint64_t upload_slab_bytes = 0;
    std::uint64_t result_slots_leased = 0;
    std::uint64_t result_bytes_in_use = 0;
    std::uint64_t upload_used_bytes = 0;
    std::uint64_t upload_limit_bytes = 0;
    std::uint64_t uploads_waiting = 0;
    std::uint64_t tickets = 0;
    std::uint64_t callers = 0;
    std::uint64_t caller_tickets = 0;
    std::uint64_t catalog_version = 0;
    std::uint64_t catalog_tracks = 0;
    std::uint64_t catalog_hashes = 0;
    std::uint64_t clips = 0;
    std::uint64_t clips_matched = 0;
    std::uint64_t cache_lookups = 0;
    std::uint64_t cache_hits = 0;
    std::uint64_t cache_used_bytes = 0;
    std::uint64_t cache_limit_bytes = 0;
    std::uint64_t cache_results = 0;
    std::uint64_t cache_stored = 0;
    std::uint64_t cache_evicted = 0;
    std::uint64_t shared = 0;  // submissions answered by a job that another one had started
    std::uint64_t disk_free_bytes = 0;
    std::uint64_t dropped_log_lines = 0;
    std::uint32_t librarian = 0;
    std::uint32_t catalog = 0;
    std::uint32_t daemon = 0;
    std::vector<ProcessFigures> processes;
};

class Metrics {
  public:
    void count_job(shm::Endpoint endpoint, Errc outcome) noexcept {
        ++jobs_[static_cast<std::size_t>(endpoint)][static_cast<std::size_t>(outcome)];
    }
    void observe(StageName stage, std::uint64_t us) noexcept {
        stages_[static_cast<std::size_t>(stage)].observe(static_cast<double>(us) * 1e-6);
    }
    // What a worker's job allocated at most, and processor time.
    void observe_use(std::uint64_t peak_bytes, std::uint64_t cpu_us) noexcept {
        job_memory_.observe(static_cast<double>(peak_bytes));
        job_cpu_.observe(static_cast<double>(cpu_us) * 1e-6);
    }
    void count_retry() noexcept { ++retries_; }
    void count_silent() noexcept { ++silent_; }
    void count_crash_refusal() noexcept { ++crash_refusals_; }
    void count_moved() noexcept { ++moved_; }
    void count_refused_link() noexcept { ++refused_links_; }

    // The whole exposition.
    std::string text(const Snapshot& now) const;

  private:
    std::array<std::array<std::uint64_t, errc_count>, shm::endpoint_count> jobs_{};
    std::array<Histogram<stage_bounds_s>, static_cast<std::size_t>(StageName::count_)> stages_{};
    Histogram<stage_bounds_s> job_cpu_;
    Histogram<job_memory_bounds_bytes> job_memory_;
    std::uint64_t retries_ = 0;
    std::uint64_t crash_refusals_ = 0;
    std::uint64_t silent_ = 0;
    std::uint64_t moved_ = 0;
    std::uint64_t refused_links_ = 0;
};

}  // namespace sonogate::broker
