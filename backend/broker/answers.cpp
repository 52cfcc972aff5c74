// What children answer, and what becomes of the jobs of one that died.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "broker/jobs.hpp"
#include "broker/memfd.hpp"
#include "log/log.hpp"

namespace sonogate::broker {

namespace {

bool is_success(std::uint16_t status) {
    return status == 200 || status == 201 || status == 204;
}

// What a job cost who asked for it. Of what failed in the librarian nothing better than the
// estimate is known.
std::uint64_t time_of(const shm::JobDone& done, const Job& job) {
    if (job.lane != Lane::librarian) {
        return done.cpu_us;
    }
    return done.failure.errc == 0 ? done.times.search_us : job.turn.cost_us;
}

}  // namespace

Jobs::Read Jobs::read_answers(Child& child) {
    Read read = Read::nothing;
    shm::ChannelAnswer answer;
    for (;;) {
        const shm::RingResult result = child.channel.peek(answer);
        if (result == shm::RingResult::none) {
            return read;
        }
        if (result == shm::RingResult::lie || !take_answer(child, answer)) {
            return Read::lie;
        }
        read = Read::some;
    }
}

bool Jobs::take_answer(Child& child, shm::ChannelAnswer& answer) {
    const std::uint64_t number = answer.entry.number;
    const auto place = std::find(child.jobs.begin(), child.jobs.end(), number);
    const bool in_turn = child.lane == Lane::librarian || place == child.jobs.begin();
    if (place == child.jobs.end() || !in_turn ||
        (answer.entry.failure.errc == 0 && !is_success(answer.entry.status))) {
        return false;
    }
    child.jobs.erase(place);
    child.busy_since_ns = now_ns();
    Job& job = *jobs_.at(number);
    child.backlog_us -= std::min(child.backlog_us, job.turn.cost_us);
    job.child = 0;
    const shm::JobDone& done = answer.entry;
    if (child.lane == Lane::librarian) {
        job.times.search_us = done.times.search_us;
        if (done.failure.errc == 0) {
            estimate_.learn_search(job.submission.endpoint, done.times.search_us);
        }
        catalog_moved_();
    } else {
        // A worker is one thread, and had no more of the processor than time went by: estimates are
        // everybody's.
        answer.entry.cpu_us = std::min(done.cpu_us, (now_ns() - job.queued_ns) / 1000U);
        // Nor has it had more memory than the kernel lets it have.
        answer.entry.heap_peak_bytes =
            std::min(done.heap_peak_bytes, parts_.settings.job_memory_bytes);
        job.times.decode_us = done.times.decode_us;
        job.times.compute_us = done.times.compute_us;
        job.audio = done.audio;
        if (done.is_long == 0) {
            parts_.metrics.observe_use(done.heap_peak_bytes, done.cpu_us);
        }
        log::about(job.submission, spdlog::level::debug,
                   "{} us of processor, heap {} bytes, {} more at most, {} after", done.cpu_us,
                   done.heap_before_bytes, done.heap_peak_bytes, done.heap_after_bytes);
    }
    parts_.scheduler.settle(job.lane, job.turn, time_of(done, job));
    const auto errc = static_cast<Errc>(done.failure.errc);
    // A worker has no log of its own.
    log::about(job.submission, errc == Errc::internal ? spdlog::level::warn : spdlog::level::debug,
               "{} answered: {}", Pool::name_of(child),
               errc == Errc::ok ? "done" : problem_of(errc).type);
    if (job.waiters.empty()) {
        erase(job);
    } else if (errc == Errc::ok) {
        take_success(job, child, answer);
    } else if (errc == Errc::cancelled && done.is_long != 0 && job.lane == Lane::short_jobs) {
        to_long_worker(job);
    } else if (errc == Errc::cancelled) {
        take_stop(job);
    } else {
        fail(job, done.failure);
    }
    child.channel.release(number);
    look_at_first(child);
    return true;
}

void Jobs::take_success(Job& job, Child& child, shm::ChannelAnswer& answer) {
    const shm::JobDone& done = answer.entry;
    if (child.lane != Lane::librarian) {
        estimate_.learn(job.submission.endpoint, job.submission.audio_bytes, done.audio,
                        done.decoded_frames, done.cpu_us);
        if (needs_librarian(job.submission.endpoint)) {
            to_librarian(job, answer);
            return;
        }
    }
    shm::Completion completion = completion_of(job);
    completion.status = done.status;
    completion.etag = done.etag;
    completion.track_id = done.track_id;
    if (done.result_bytes > parts_.settings.job_result_bytes) {
        fail(job, {.errc = static_cast<std::uint16_t>(Errc::job_too_large),
                   .limit = parts_.settings.job_result_bytes,
                   .value = done.result_bytes});
        return;
    }
    count(job, Errc::ok);
    if (answer.file) {
        completion.result_bytes = done.result_bytes;
        answer_all_with_file(job, completion, answer.file);
    } else {
        keep(job, answer.bytes);  // first: who has the answer and asks again finds it
        answer_all(job, completion, answer.bytes);
    }
    answered(job);
}

// Nobody cancelled it: it stopped itself at the deadline that it was told. Those who came later
// have more time, and begin anew.
void Jobs::take_stop(Job& job) {
    std::vector<shm::JobId> late;
    for (const Waiter& waiter : job.waiters) {
        if (waiter.deadline_ns <= job.deadline_ns) {
            late.push_back(waiter.asked.job);
        }
    }
    const bool all = late.size() == job.waiters.size();
    if (!all) {
        enqueue(job, job.lane);
    }
    for (const auto& id : late) {
        fail_waiter(job, id, Errc::deadline_exceeded);
    }
}

// A worker for short jobs has seen what it is, or was at it for too long.
void Jobs::to_long_worker(Job& job) {
    const shm::Endpoint endpoint = job.submission.endpoint;
    // A header may promise a thousand hours; it gets no more than its budget.
    job.turn.cost_us = std::min(
        std::max({estimate_.of(endpoint, job.audio),
                  estimate_.of(endpoint, job.submission.audio_bytes), Estimate::patience_us}),
        std::uint64_t{parts_.settings.job_cpu_ms} * 1000U);
    parts_.metrics.count_moved();
    const std::uint64_t wait_us = parts_.scheduler.expected_wait_us(Lane::long_jobs, job.turn);
    if (wait_us * 1000U > parts_.settings.queue_timeout_ns) {
        job.lane = Lane::long_jobs;
        fail(job, Errc::overloaded);
        return;
    }
    enqueue(job, Lane::long_jobs);
}

void Jobs::to_librarian(Job& job, const shm::ChannelAnswer& answer) {
    if (answer.entry.result_bytes > shm::channel_arena_bytes / 2) {
        fail(job, Errc::job_too_large);
        return;
    }
    job.turn.cost_us = estimate_.of_search(job.submission.endpoint);
    job.record = answer.file ? read_part(answer.file, 0, answer.entry.result_bytes)
                             : std::vector<std::byte>(answer.bytes.begin(), answer.bytes.end());
    job.crashes = 0;
    enqueue(job, Lane::librarian);
}

void Jobs::child_ended(std::uint64_t birth, Ending how) {
    Child* const ending = parts_.pool.find(birth);
    if (ending == nullptr) {
        return;
    }
    if (how == Ending::closed) {
        (void)read_answers(*ending);  // what it said before it died still counts
    }
    // A librarian that can still hear commits at EOF.
    const bool librarian = ending->lane == Lane::librarian;
    const auto child =
        parts_.pool.take_out(birth, how == Ending::silent || (how != Ending::closed && !librarian));
    if (!child->retiring || !child->jobs.empty()) {
        spdlog::warn("{} (pid {}) is gone with {} jobs", Pool::name_of(*child), child->pid,
                     child->jobs.size());
    }
    // A worker works on one job, the first, and only where it took it from the ring.
    const bool first_begun = child->channel.untaken() < child->jobs.size();
    if (first_begun && !librarian) {
        blame(*jobs_.at(child->jobs.front()), *child, how);
    }
    for (auto at = child->jobs.rbegin(); at != child->jobs.rend(); ++at) {
        const bool first = *at == child->jobs.front();
        place_again(*jobs_.at(*at), librarian || (first && first_begun));
    }
    parts_.pool.tick(now_ns());
}

// Before the job is placed again: whose upload it was is still known.
void Jobs::blame(const Job& job, const Child& child, Ending how) {
    if (how == Ending::stuck) {
        return;
    }
    const Blame::Suspect suspect = parts_.blame.suspect_of(job.submission, job.slab);
    if (job.crashes + 1 >= most_workers) {
        parts_.blame.convict(suspect, Quarantine::deaths_to_hold);
    } else if (how == Ending::lied) {
        parts_.blame.convict(suspect, 1);
    } else if (how == Ending::closed) {
        parts_.blame.suspect(child.birth, suspect, child.status);
    }
}

void Jobs::place_again(Job& job, bool begun) {
    job.child = 0;
    if (job.waiters.empty()) {
        parts_.scheduler.settle(job.lane, job.turn, begun ? job.turn.cost_us : 0);
        erase(job);
        return;
    }
    const bool librarian = job.lane == Lane::librarian;
    job.crashes += begun ? 1U : 0U;
    job.deaths += 1;
    if (job.crashes >= (librarian ? most_librarians : most_workers) || job.deaths >= most_deaths) {
        log::about(job.submission, spdlog::level::err,
                   "{} with it, and so did the one that tried again",
                   librarian ? "the librarian died" : "a worker died");
        parts_.scheduler.settle(job.lane, job.turn, job.turn.cost_us);
        fail(job, librarian ? Errc::backend_unavailable : Errc::worker_crashed);
        return;
    }
    parts_.metrics.count_retry();
    job.queued_ns = now_ns();
    parts_.scheduler.push_front(job.lane, job.turn);
}

shm::Completion Jobs::completion_of(const Job& job) const {
    shm::Completion out;
    out.kind = shm::CompletionKind::done;
    out.times = job.times;
    out.audio = job.audio;
    return out;
}

shm::FailureFacts Jobs::failure_of(const Job& job, Errc code) const {
    const bool later =
        code == Errc::overloaded || code == Errc::backend_unavailable || code == Errc::draining;
    return {.errc = static_cast<std::uint16_t>(code),
            .retry_after_s = later ? Scheduler::retry_after_s(
                                         parts_.scheduler.expected_wait_us(job.lane, job.turn))
                                   : 0U};
}

void Jobs::fail(Job& job, Errc code) {
    fail(job, failure_of(job, code));
}

void Jobs::fail(Job& job, const shm::FailureFacts& failure, bool again) {
    count(job, static_cast<Errc>(failure.errc));
    shm::Completion completion = completion_of(job);
    completion.again = again ? 1 : 0;
    completion.failure = failure;
    completion.failure.retry_after_s =
        failure_of(job, static_cast<Errc>(failure.errc)).retry_after_s;
    answer_all(job, completion, {});
    answered(job);
}

void Jobs::count(const Job& job, Errc outcome) {
    parts_.metrics.count_job(job.submission.endpoint, outcome);
    if (outcome == Errc::ok) {
        parts_.metrics.observe(StageName::queue, job.times.queue_us);
        if (needs_worker(job.submission.endpoint)) {
            parts_.metrics.observe(StageName::decode, job.times.decode_us);
            parts_.metrics.observe(StageName::compute, job.times.compute_us);
        }
        if (needs_librarian(job.submission.endpoint)) {
            parts_.metrics.observe(StageName::search, job.times.search_us);
        }
    }
}

}  // namespace sonogate::broker
