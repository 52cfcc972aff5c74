// Starting, handing over, stopping. What children answer is in answers.cpp, who waits for it in
// waiters.cpp.
#include "broker/jobs.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "broker/memfd.hpp"
#include "log/log.hpp"

namespace sonogate::broker {

namespace {

// A PATCH body: a track's texts and metadata. More is no JSON of ours.
constexpr std::uint64_t most_patch_bytes = 1U << 20U;

// Parts of a slab, borrowed from its mapping, or read from its descriptor into `copy`.
Bytes slab_bytes(const Slab& slab, std::uint64_t offset, std::uint64_t bytes,
                 std::vector<std::byte>& copy) {
    if (slab.warm) {
        return {slab.mapping.data() + offset, bytes};
    }
    copy = read_part(slab.fd, offset, bytes);  // sealed at its size and verified: all of it
    return copy;
}

}  // namespace

void Jobs::start(const shm::Submission& submission, std::shared_ptr<Slab> slab) {
    auto owned = std::make_unique<Job>();
    Job& job = *owned;
    job.number = next_number_++;
    add_waiter(job, submission, std::move(slab));
    const Place place = place_of(submission, submission.audio_bytes);
    job.turn = place.turn;
    job.turn.number = job.number;
    jobs_.emplace(job.number, std::move(owned));
    parts_.metrics.observe(StageName::receive, submission.receive_us);
    make_room(place);
    enqueue(job, place.lane);
}

Jobs::Place Jobs::place_of(const shm::Submission& submission, std::uint64_t bytes) const {
    Place out{.lane = Lane::librarian,
              .turn = {.identity = submission.identity, .priority = submission.priority}};
    if (!needs_worker(submission.endpoint)) {
        out.turn.cost_us = estimate_.of_search(submission.endpoint);
        return out;
    }
    const std::uint64_t by_size_us = estimate_.of(submission.endpoint, bytes);
    const bool is_long = bytes > Estimate::short_bytes;
    out.lane = is_long ? Lane::long_jobs : Lane::short_jobs;
    out.turn.cost_us = is_long ? by_size_us : std::min(by_size_us, Estimate::long_job_us);
    return out;
}

Jobs::Prospect Jobs::prospect_of(const shm::Submission& submission, std::uint64_t bytes) const {
    Place place = place_of(submission, bytes);
    const std::uint64_t by_size_us = estimate_.of(submission.endpoint, bytes);
    const auto& scheduler = parts_.scheduler;
    // Whose long jobs wait already, and who sends one more of a size that was long so far, is not
    // told that workers for short ones are free.
    if (place.lane == Lane::short_jobs && by_size_us > Estimate::long_job_us &&
        scheduler.waits(Lane::long_jobs, submission.identity, submission.priority)) {
        place.lane = Lane::long_jobs;
        place.turn.cost_us = by_size_us;
    }
    return {.place = place,
            .wait_us = scheduler.expected_wait_us(place.lane, place.turn) +
                       parts_.pool.busy_us(place.lane, now_ns())};
}

// The queue is full: who has most of it gives way, with what came last.
void Jobs::make_room(const Place& place) {
    if (const auto number = parts_.scheduler.who_gives_way(place.lane, place.turn)) {
        fail(*jobs_.at(*number), Errc::overloaded);
    }
}

void Jobs::enqueue(Job& job, Lane lane) {
    job.lane = lane;
    job.child = 0;
    job.queued_ns = now_ns();
    parts_.scheduler.push(lane, job.turn);
}

bool Jobs::dispatch() {
    bool moved = false;
    reads_ = false;
    for (std::size_t lane = 0; lane < lane_count; ++lane) {
        while (dispatch_one(static_cast<Lane>(lane))) {
            moved = true;
        }
    }
    return moved;
}

bool Jobs::dispatch_one(Lane lane) {
    const auto number = parts_.scheduler.front(lane);
    if (!number) {
        return false;
    }
    Child* const child =
        lane == Lane::librarian ? parts_.pool.open_librarian() : parts_.pool.free_worker(lane);
    if (child == nullptr) {
        return false;
    }
    Job& job = *jobs_.at(*number);
    const Standing standing = lane == Lane::librarian ? Standing::clear : standing_of(job);
    if (standing == Standing::unknown) {
        reads_ = true;
        return false;  // its lane waits for it, the loop does not
    }
    if (standing == Standing::quarantined) {
        fail(job, Errc::quarantined);  // it still waits, so nobody pays for it
        return true;
    }
    const auto handed = hand_over(job, *child);
    if (!handed) {
        if (handed.failure().code == Errc::overloaded || handed.failure().code == Errc::internal) {
            return false;  // no room there now, or it died: its EOF is on the way
        }
        fail(job, handed.failure().code);
        return true;
    }
    parts_.scheduler.pop(lane);
    job.child = child->birth;
    job.times.queue_us += static_cast<std::uint32_t>(
        std::min<std::uint64_t>((now_ns() - job.queued_ns) / 1000U, UINT32_MAX / 2));
    if (child->jobs.empty()) {
        child->busy_since_ns = now_ns();
    }
    child->jobs.push_back(job.number);
    child->backlog_us += job.turn.cost_us;
    parts_.pool.handed_to(*child);
    return true;
}

// Looked at once, and again only after more was put there. One of a size that is held is read, a
// piece each time it is asked.
Jobs::Standing Jobs::standing_of(Job& job) {
    const Quarantine& quarantine = parts_.blame.quarantine();
    const std::uint64_t now = now_ns();
    if (job.cleared_stamp == quarantine.stamp()) {
        return Standing::clear;
    }
    bool held = false;
    if (quarantine.holds_any_of(job.submission.audio_bytes, now)) {
        if (!job.reader || !job.reader->is_of(job.slab.get())) {
            job.reader = quarantine.reader(job.submission, job.slab);
        }
        if (!job.reader->step()) {
            return Standing::unknown;
        }
        held = quarantine.holds(job.reader->content(), now);
    }
    job.reader.reset();
    job.cleared_stamp = quarantine.stamp();
    return held ? Standing::quarantined : Standing::clear;
}

Result<void> Jobs::hand_over(Job& job, Child& child) {
    const shm::Submission& asked = job.submission;
    job.deadline_ns = 0;
    for (const Waiter& waiter : job.waiters) {
        job.deadline_ns = std::max(job.deadline_ns, waiter.deadline_ns);
    }
    shm::Job message;
    message.number = job.number;
    message.endpoint = asked.endpoint;
    message.body = asked.body;
    message.flags =
        ((asked.flags & shm::submission_catalog_write) != 0 ? shm::job_catalog_write : 0U) |
        (asked.track_id_made != 0 ? shm::job_track_id_made : 0U);
    message.limits = asked.limits;
    message.job_memory_bytes = parts_.settings.job_memory_bytes;
    message.result_bytes = parts_.settings.job_result_bytes;
    message.cpu_ms = parts_.settings.job_cpu_ms;
    message.deadline_ns = job.deadline_ns;
    if (job.lane == Lane::short_jobs) {
        message.short_job = estimate_.short_job(asked.endpoint);
    }
    message.job_key = asked.job_key;
    message.request_id = asked.request_id;
    message.track_id = asked.track_id;
    return job.lane == Lane::librarian ? hand_to_librarian(job, child, message)
                                       : hand_to_worker(job, child, message);
}

Result<void> Jobs::hand_to_worker(Job& job, Child& child, shm::Job& message) {
    const shm::Submission& asked = job.submission;
    if (!job.slab) {
        return child.channel.submit(message, {}, {});
    }
    if (job.slab->warm) {
        const std::byte* const data = job.slab->mapping.data();
        return child.channel.submit(message, {data, asked.params_bytes},
                                    {data + shm::slab_audio_offset, asked.audio_bytes});
    }
    message.params_offset = 0;
    message.params_bytes = asked.params_bytes;
    message.body_offset = shm::slab_audio_offset;
    message.body_bytes = asked.audio_bytes;
    return child.channel.submit_file(message, job.slab->fd.get(), job.slab->bytes);
}

Result<void> Jobs::hand_to_librarian(Job& job, Child& child, shm::Job& message) {
    const shm::Submission& asked = job.submission;
    std::vector<std::byte> params_copy;
    std::vector<std::byte> body_copy;
    Bytes params;
    Bytes record = job.record;
    if (job.slab) {
        params = slab_bytes(*job.slab, 0, asked.params_bytes, params_copy);
        if (asked.endpoint == shm::Endpoint::track_patch) {
            if (asked.audio_bytes > most_patch_bytes) {
                return Errc::body_too_large;
            }
            record = slab_bytes(*job.slab, shm::slab_audio_offset, asked.audio_bytes, body_copy);
        }
    }
    return child.channel.submit(message, params, record);
}

void Jobs::cancel(const shm::JobId& id) {
    const auto place = by_place_.find({id.epoch, id.slot});
    if (place == by_place_.end()) {
        return;
    }
    fail_waiter(*jobs_.at(place->second), id, Errc::cancelled);
}

void Jobs::forget_link(Link& link) {
    const auto from = by_place_.lower_bound({link.epoch(), 0});
    std::vector<std::pair<std::uint64_t, std::uint32_t>> gone;  // the job, the place
    for (auto at = from; at != by_place_.end() && at->first.first == link.epoch(); ++at) {
        gone.emplace_back(at->second, at->first.second);
    }
    for (const auto& [number, slot] : gone) {
        leave(*jobs_.at(number), link.epoch(), slot, Errc::cancelled);
    }
}

void Jobs::stop_work(Job& job) {
    Child* const child = parts_.pool.find(job.child);
    if (child == nullptr) {
        return;
    }
    // A librarian finishes what it began: a search is short, and an enrolment is not half done. But
    // a long recording ends with its next piece, where no other one is cancelled before.
    if (child->lane != Lane::librarian) {
        look_at_first(*child);
    } else if (job.submission.endpoint == shm::Endpoint::monitor) {
        child->channel.cancel(job.number);
    }
}

// The first of a worker's jobs is the one it works on: where nobody wants it, it is told to stop.
void Jobs::look_at_first(Child& child) {
    if (child.jobs.empty()) {
        return;
    }
    Job& job = *jobs_.at(child.jobs.front());
    if (job.waiters.empty() && job.unwanted_ns == 0) {
        job.unwanted_ns = now_ns();
        child.channel.cancel(job.number);
    }
}

void Jobs::tick(std::uint64_t now_ns) {
    for (auto at = jobs_.begin(); at != jobs_.end();) {
        Job& job = *at->second;
        ++at;  // check_time may erase the job
        check_time(job, now_ns);
    }
    end_spinning_workers();
    end_workers_busy_with_nothing();
    // Ending a child moves its other jobs, so each round looks for one.
    for (;;) {
        const auto stuck = std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
            return entry.second->unwanted_ns != 0 &&
                   now_ns - entry.second->unwanted_ns > stop_patience_ns;
        });
        if (stuck == jobs_.end()) {
            break;
        }
        log::about(stuck->second->submission, spdlog::level::warn,
                   "its worker does not stop and is ended");
        child_ended(stuck->second->child, Ending::stuck);
    }
}

void Jobs::give_up() {
    for (auto at = jobs_.begin(); at != jobs_.end();) {
        Job& job = *at->second;
        ++at;  // fail() may erase the job
        if (!job.waiters.empty()) {
            fail(job, failure_of(job, Errc::draining), job.child == 0);
        }
    }
}

// A worker looks at its processor time between blocks, and answers for itself. One that does not
// come to that is ended; trying its job once more would only take another one.
void Jobs::end_spinning_workers() {
    const std::uint64_t most_ns =
        std::uint64_t{parts_.settings.job_cpu_ms} * 1'000'000U + cpu_patience_ns;
    std::vector<std::uint64_t> spinning;
    for (const auto& child : parts_.pool.children()) {
        if (child->lane != Lane::librarian && !child->jobs.empty() && child->pid != 0 &&
            child->cpu.used_ns(child->jobs.front(), child->pid) > most_ns) {
            spinning.push_back(child->birth);
        }
    }
    for (const std::uint64_t birth : spinning) {
        Job& job = *jobs_.at(parts_.pool.find(birth)->jobs.front());
        log::about(job.submission, spdlog::level::warn,
                   "it is over its processor time, and so its worker is ended");
        if (!job.waiters.empty()) {
            fail(job, {.errc = static_cast<std::uint16_t>(Errc::job_too_large),
                       .limit = parts_.settings.job_cpu_ms,
                       .value = 0});
        }
        child_ended(birth, Ending::stuck);
    }
}

// A worker without a job sleeps. One that does not was taken over or hangs, and would keep a core,
// and the next job, from others.
void Jobs::end_workers_busy_with_nothing() {
    std::vector<std::uint64_t> busy;
    for (const auto& child : parts_.pool.children()) {
        if (child->lane != Lane::librarian && child->jobs.empty() && child->pid != 0 &&
            child->cpu.used_ns(CpuWatch::between_jobs(child->handed), child->pid) > idle_cpu_ns) {
            spdlog::error("{} (pid {}) works without a job and is ended", Pool::name_of(*child),
                          child->pid);
            busy.push_back(child->birth);
        }
    }
    for (const std::uint64_t birth : busy) {
        child_ended(birth, Ending::stuck);
    }
}

void Jobs::check_time(Job& job, std::uint64_t now_ns) {
    const bool waits = job.child == 0;
    const bool no_librarian =
        job.lane == Lane::librarian && parts_.pool.open_librarian() == nullptr;
    std::vector<std::pair<shm::JobId, Errc>> late;
    for (const Waiter& waiter : job.waiters) {
        const std::uint64_t since_ns = std::max(job.queued_ns, waiter.submitted_ns);
        if (now_ns > waiter.deadline_ns) {
            late.emplace_back(waiter.asked.job, Errc::deadline_exceeded);
        } else if (waits && now_ns - since_ns > parts_.settings.queue_timeout_ns) {
            late.emplace_back(waiter.asked.job,
                              no_librarian ? Errc::backend_unavailable : Errc::overloaded);
        }
    }
    for (const auto& [id, why] : late) {
        fail_waiter(job, id, why);  // the last one may end the job
    }
}

}  // namespace sonogate::broker
