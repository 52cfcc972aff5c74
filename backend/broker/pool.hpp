// The children: two classes of workers and one librarian, born, chosen, ended and born again.
//
// For: who is there and who is free. Not for: what happens to the jobs of a child that ended
// (jobs.hpp) nor their order (scheduler.hpp). One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "broker/cpu_watch.hpp"
#include "broker/departed.hpp"
#include "broker/heartbeat.hpp"
#include "broker/nursery.hpp"
#include "broker/poller.hpp"
#include "broker/scheduler.hpp"
#include "broker/settings.hpp"
#include "shm/channel.hpp"

namespace sonogate::broker {

// A child as the broker sees it. `jobs` are numbers in the order they were handed over: the first
// is the one that a worker works on.
struct Child {
    std::uint64_t birth = 0;
    Lane lane = Lane::short_jobs;
    std::uint32_t index = 0;
    shm::BrokerChannel channel;
    Poller::Watch watch = 0;
    UniqueFd pidfd;
    std::int32_t pid = 0;
    std::optional<int> status;  // it ended, and its channel does not tell yet
    std::uint64_t born_ns = 0;
    bool told_refusal = false;  // the log knows of a call that its filter refused
    std::uint32_t handed = 0;   // jobs, since its birth
    bool retiring = false;      // gets no more jobs, ends when it has none
    std::deque<std::uint64_t> jobs;
    std::uint64_t backlog_us = 0;  // estimated, of jobs
    Heartbeat heartbeat;
    CpuWatch cpu{};
    std::uint64_t busy_since_ns = 0;  // when it began the first of them
};

class Pool {
  public:
    // A child's socket is readable. Its answers are read by the caller.
    using Ready = std::function<void(std::uint64_t birth)>;
    // The wait status of a child that was taken out before it came; one that is still there has it
    // as `status`.
    using Ended = std::function<void(std::uint64_t birth, int status)>;

    Pool(Nursery& nursery, Poller& poller, Ready ready, Ended ended)
        : nursery_(nursery), poller_(poller), ready_(std::move(ready)), ended_(std::move(ended)) {}

    static constexpr std::size_t most_jobs_each_worker = 4;
    static constexpr std::uint64_t most_backlog_us = 1'000;
    // A wait this short costs less than to wake another worker.
    static constexpr std::uint64_t wake_worth_us = 50;

    // Workers of each class, and the catalog. Children beyond it retire; missing ones are born by
    // tick(). True where the librarian has to change: end it.
    bool apply(const Settings& settings);

    // Orders what is missing, with a pause that doubles for a place whose children die young.
    void tick(std::uint64_t now_ns);

    // Those that should show a sign of life and do not: a worker with a job, or one that is not
    // ready yet, and the librarian.
    std::vector<std::uint64_t> silent(std::uint64_t now_ns);

    // News of the zygote. False: it is dead, and so is this pool's future.
    bool read_news();

    // The worker of that lane with the least to do, if it may take one more; nullptr otherwise.
    Child* free_worker(Lane lane);

    // How long until one of that lane is free, by the estimates of what they have; 0 where one is.
    std::uint64_t busy_us(Lane lane, std::uint64_t now_ns) const;

    // The librarian, where its catalog is open; nullptr otherwise.
    Child* open_librarian();
    shm::PartState librarian_state() const;  // of the process
    shm::PartState catalog_state() const;    // of its store

    Child* find(std::uint64_t birth);

    // A job was handed to that child. The last one that a worker is to have makes it retire, and
    // orders the next worker of its place at once.
    void handed_to(Child& child);
    std::uint64_t recycled() const noexcept { return recycled_; }

    // Takes a child out; its jobs are the caller's to place again. Without `kill` it ends
    // by EOF, a librarian after its commit, and is killed where it takes longer than its time.
    std::unique_ptr<Child> take_out(std::uint64_t birth, bool kill);
    // What is left to a worker that closed its channel, to say how it ended; to one that retires;
    // and to a librarian, as the zygote leaves it at the end of the daemon.
    static constexpr std::uint64_t worker_patience_ns = 500'000'000;
    static constexpr std::uint64_t retired_patience_ns = 5'000'000'000;
    static constexpr std::uint64_t librarian_patience_ns = 30'000'000'000;

    const std::vector<std::unique_ptr<Child>>& children() const noexcept { return children_; }
    std::uint32_t workers_ready() const;
    std::uint32_t workers_wanted() const noexcept { return 2 * wanted_; }
    std::uint64_t deaths() const noexcept { return deaths_; }

    // Tells the log what a child that has just said hello is confined by: once, and where it
    // differs.
    void note_sandbox(const Child& child);
    // And, once a child, which call its filter refused it.
    static void note_refusal(Child& child);
    // Children that their filter killed, and calls that it refused.
    std::uint64_t filter_kills() const noexcept { return filter_kills_; }
    std::uint64_t refused_calls() const;

    // The place of a child in metrics and logs: "worker 3", "librarian".
    static std::string name_of(const Child& child);

  private:
    // Where a child lives: a worker's index, or the librarian's one place.
    struct Place {
        std::uint64_t not_before_ns = 0;
        unsigned young_deaths = 0;     // in a row
        std::uint64_t last_birth = 0;  // of one that died young; how is not known yet
    };

    void order(Lane lane, std::uint32_t index, std::uint64_t now_ns);
    bool is_there(Lane lane, std::uint32_t index) const;
    Place& place(Lane lane, std::uint32_t index);
    void note_death(const Child& child);
    void note_fate(std::uint64_t birth, int status);

    Nursery& nursery_;
    Poller& poller_;
    Ready ready_;
    Ended ended_;
    std::vector<std::unique_ptr<Child>> children_;
    Departed departed_;
    std::vector<Place> places_[lane_count];
    std::uint32_t wanted_ = 0;  // workers of each class
    std::string store_;
    shm::LogLevel log_level_ = shm::LogLevel::unset;
    std::uint64_t next_birth_ = 1;
    std::uint64_t deaths_ = 0;
    std::uint64_t job_memory_bytes_ = 0;
    std::uint64_t result_bytes_ = 0;
    std::uint64_t upload_bytes_ = 0;
    std::uint32_t worker_jobs_ = 1;
    std::uint64_t recycled_ = 0;
    std::uint64_t filter_kills_ = 0;
    std::uint64_t refused_calls_ = 0;                            // by those that are gone
    std::optional<std::uint32_t> told_worker_, told_librarian_;  // confinement, in the log
};

}  // namespace sonogate::broker
