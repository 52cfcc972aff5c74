// The way of a job through the broker: queue, worker, librarian, answer; and every way off it.
//
// For: moving jobs on when somebody is free, answers, dies, or time passes. Exactly one answer
// leaves for each job that was started, whatever happens. Not for: what a link may ask (desk.hpp).
// One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "broker/admission.hpp"
#include "broker/blame.hpp"
#include "broker/estimate.hpp"
#include "broker/job.hpp"
#include "broker/link.hpp"
#include "broker/metrics.hpp"
#include "broker/pool.hpp"
#include "broker/result_cache.hpp"
#include "broker/scheduler.hpp"

namespace sonogate::broker {

class Jobs {
  public:
    // The link of that epoch, or null: links end before their jobs do.
    using LinkOf = std::function<Link*(std::uint64_t epoch)>;
    // Called before a librarian's answer is handed on: whoever reads the answer sees its version.
    using CatalogMoved = std::function<void()>;

    struct Parts {
        Pool& pool;
        Scheduler& scheduler;
        Admission& admission;
        Metrics& metrics;
        ResultCache& cache;
        Blame& blame;
        const Settings& settings;
    };

    Jobs(const Parts& parts, LinkOf link_of, CatalogMoved catalog_moved)
        : parts_(parts), link_of_(std::move(link_of)), catalog_moved_(std::move(catalog_moved)) {}

    // How long a job whose worker was told to stop may take to do so, before the worker is killed.
    static constexpr std::uint64_t stop_patience_ns = 300'000'000;
    // Workers that may die of a job.
    static constexpr unsigned most_workers = 2;
    // How much longer than its budget a worker may compute before it is ended from outside.
    static constexpr std::uint64_t cpu_patience_ns = 300'000'000;
    // What a worker may have of the processor without a job: to be born, and to tidy up.
    static constexpr std::uint64_t idle_cpu_ns = 1'000'000'000;
    // Librarians that may die with a job before its client is told.
    static constexpr unsigned most_librarians = 3;
    // Children of any kind: a worker could lie about what it had begun.
    static constexpr unsigned most_deaths = 8;

    // Answers a submission, checked as for start(), without a job of its own: from the result
    // cache, or by a job that works on the same already. False where neither has it.
    bool share(const shm::Submission& submission, const std::shared_ptr<Slab>& slab);

    // Takes over a submission that was checked and whose upload memory is settled.
    void start(const shm::Submission& submission, std::shared_ptr<Slab> slab);

    // Answers `cancelled` now, and stops the work. Unknown ids crossed their answer: nothing to do.
    void cancel(const shm::JobId& id);

    // The link is closing: its jobs are stopped, nobody is answered.
    void forget_link(Link& link);

    // True where that place of nginx's table has a job that is not answered.
    bool is_running(const shm::JobId& id) const { return by_place_.contains({id.epoch, id.slot}); }

    enum class Read : std::uint8_t { nothing, some, lie };
    // Takes a child's answers. `lie`: end it with child_ended().
    Read read_answers(Child& child);

    // `closed`: it is gone, or told to go. The others have to be killed: one that lied, one without
    // a sign of life, and one that does not stop where it was told to.
    enum class Ending : std::uint8_t { closed, lied, silent, stuck };
    // A child ends: its jobs are tried again, or answered.
    void child_ended(std::uint64_t birth, Ending how);

    // Hands waiting jobs to whoever is free. True where something moved.
    bool dispatch();
    // The last dispatch() did not come to the end of an upload that may be in quarantine: call it
    // again soon.
    bool reads() const noexcept { return reads_; }

    // Deadlines, waits in queues, workers that do not stop.
    void tick(std::uint64_t now_ns);

    // The daemon ends: whoever still waits is told so, whatever becomes of the work. A job that
    // nobody works on, since its turn has not come or its worker died, is the next daemon's.
    void give_up();

    std::size_t count() const noexcept { return jobs_.size(); }
    // Without those that nobody waits for.
    std::size_t wanted() const noexcept { return by_place_.size(); }
    // Submissions that a job answered which another had started.
    std::uint64_t shared() const noexcept { return shared_; }

    // Where a submission of so many bytes would wait, and what its turn depends on.
    struct Place {
        Lane lane = Lane::short_jobs;
        Turn turn;
    };
    Place place_of(const shm::Submission& submission, std::uint64_t bytes) const;
    // What can be told at the door: where it will wait, and how long if it came now.
    struct Prospect {
        Place place;
        std::uint64_t wait_us = 0;
    };
    Prospect prospect_of(const shm::Submission& submission, std::uint64_t bytes) const;

  private:
    void make_room(const Place& place);
    bool dispatch_one(Lane lane);
    Result<void> hand_over(Job& job, Child& child);
    Result<void> hand_to_worker(Job& job, Child& child, shm::Job& message);
    Result<void> hand_to_librarian(Job& job, Child& child, shm::Job& message);
    void enqueue(Job& job, Lane lane);

    bool take_answer(Child& child, shm::ChannelAnswer& answer);
    void take_success(Job& job, Child& child, shm::ChannelAnswer& answer);
    void take_stop(Job& job);
    void to_long_worker(Job& job);
    void to_librarian(Job& job, const shm::ChannelAnswer& answer);
    void look_at_first(Child& child);

    enum class Standing : std::uint8_t { clear, quarantined, unknown };
    Standing standing_of(Job& job);
    void blame(const Job& job, const Child& child, Ending how);
    void place_again(Job& job, bool begun);
    void stop_work(Job& job);
    void end_spinning_workers();
    void end_workers_busy_with_nothing();
    void check_time(Job& job, std::uint64_t now_ns);

    shm::Completion completion_of(const Job& job) const;
    shm::FailureFacts failure_of(const Job& job, Errc code) const;
    void fail(Job& job, const shm::FailureFacts& failure, bool again = false);
    void fail(Job& job, Errc code);
    void count(const Job& job, Errc outcome);
    void erase(Job& job) { jobs_.erase(job.number); }

    // waiters.cpp; what ends with the last waiter may end the job
    bool answer_from_cache(const shm::Submission& submission);
    void keep(const Job& job, Bytes result);
    void hasten(Job& job, const shm::Submission& submission);
    void add_waiter(Job& job, const shm::Submission& submission, std::shared_ptr<Slab> slab);
    void answer_all(const Job& job, const shm::Completion& answer, Bytes body);
    void answer_all_with_file(const Job& job, const shm::Completion& answer, const UniqueFd& file);
    void fail_waiter(Job& job, const shm::JobId& id, Errc code);
    void leave(Job& job, std::uint64_t epoch, std::uint32_t slot, Errc why);
    void forget(Waiter& waiter);
    void answered(Job& job);

    Parts parts_;
    LinkOf link_of_;
    CatalogMoved catalog_moved_;
    Estimate estimate_;
    std::map<std::uint64_t, std::unique_ptr<Job>> jobs_;
    std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> by_place_;  // epoch, slot
    std::map<shm::CacheKey, std::uint64_t> by_key_;  // jobs that others may wait for too
    std::uint64_t next_number_ = 1;
    std::uint64_t shared_ = 0;
    bool reads_ = false;
};

}  // namespace sonogate::broker
