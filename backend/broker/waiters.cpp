// Who waits for a job: those who send what another one is being asked already wait for its answer.
//
// Each has a deadline and a ticket of its own, and gets a copy of its own. The work goes on until
// the last has left, with the upload of one who is still there.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/clock.hpp"
#include "broker/jobs.hpp"
#include "log/log.hpp"

namespace sonogate::broker {

namespace {

bool is_shareable(const shm::Submission& submission) {
    return (submission.flags & shm::submission_cacheable) != 0;
}

}  // namespace

bool Jobs::share(const shm::Submission& submission, const std::shared_ptr<Slab>& slab) {
    if (!parts_.cache.is_on() || !is_shareable(submission)) {
        return false;
    }
    if (answer_from_cache(submission)) {
        return true;
    }
    const auto found = by_key_.find(submission.cache_key);
    if (found == by_key_.end()) {
        return false;
    }
    Job& job = *jobs_.at(found->second);
    add_waiter(job, submission, slab);
    hasten(job, submission);
    parts_.metrics.observe(StageName::receive, submission.receive_us);
    ++shared_;
    return true;
}

// A batch job that waits, and that somebody is waiting at now, is that one's.
void Jobs::hasten(Job& job, const shm::Submission& submission) {
    if (job.child != 0 || job.turn.priority != shm::Priority::batch ||
        submission.priority != shm::Priority::interactive) {
        return;
    }
    parts_.scheduler.erase(job.lane, job.turn);
    job.turn.priority = submission.priority;
    job.turn.identity = submission.identity;
    parts_.scheduler.push(job.lane, job.turn);
}

// The result came between nginx's look at the cache and its submission.
bool Jobs::answer_from_cache(const shm::Submission& submission) {
    shm::Completion completion;
    const auto result = parts_.cache.find(submission.cache_key, now_ns(), completion.audio);
    Link* const link = link_of_(submission.job.epoch);
    if (result.empty() || link == nullptr) {
        return false;
    }
    completion.kind = shm::CompletionKind::done;
    completion.job = submission.job;
    completion.status = 200;
    completion.cached = 1;
    parts_.admission.give_back(submission.job);
    link->answer(completion, result);
    return true;
}

void Jobs::keep(const Job& job, Bytes result) {
    if (is_shareable(job.submission)) {
        parts_.cache.store(job.submission.cache_key, result, job.audio,
                           now_ns() + parts_.settings.result_cache_ttl_ns);
    }
}

void Jobs::add_waiter(Job& job, const shm::Submission& submission, std::shared_ptr<Slab> slab) {
    const std::uint64_t now = now_ns();
    if (slab) {
        slab->in_use = true;
    }
    if (job.waiters.empty()) {
        job.submission = submission;
        job.slab = slab;
        if (parts_.cache.is_on() && is_shareable(submission)) {
            by_key_[submission.cache_key] = job.number;
        }
    }
    by_place_[{submission.job.epoch, submission.job.slot}] = job.number;
    job.waiters.push_back(
        {submission, std::move(slab), now, now + parts_.settings.job_deadline_ns});
}

void Jobs::answer_all(const Job& job, const shm::Completion& answer, Bytes body) {
    for (const Waiter& waiter : job.waiters) {
        if (Link* const link = link_of_(waiter.asked.job.epoch)) {
            shm::Completion completion = answer;
            completion.job = waiter.asked.job;
            link->answer(completion, body);
        }
    }
}

void Jobs::answer_all_with_file(const Job& job, const shm::Completion& answer,
                                const UniqueFd& file) {
    for (const Waiter& waiter : job.waiters) {
        Link* const link = link_of_(waiter.asked.job.epoch);
        if (link == nullptr) {
            continue;
        }
        shm::Completion completion = answer;
        completion.job = waiter.asked.job;
        UniqueFd own(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
        if (own) {
            link->answer_file(completion, std::move(own));
        } else {
            completion.status = 0;
            completion.result_bytes = 0;
            completion.failure.errc = static_cast<std::uint16_t>(Errc::internal);
            link->answer(completion, {});
        }
    }
}

void Jobs::fail_waiter(Job& job, const shm::JobId& id, Errc code) {
    const auto waiter = std::find_if(job.waiters.begin(), job.waiters.end(),
                                     [&](const Waiter& w) { return w.asked.job == id; });
    if (waiter == job.waiters.end()) {
        return;  // another use of the place: it crossed its answer
    }
    if (code == Errc::deadline_exceeded) {
        log::about(waiter->asked, spdlog::level::warn, "past its deadline");
    }
    if (Link* const link = link_of_(id.epoch)) {
        shm::Completion completion = completion_of(job);
        completion.job = id;
        completion.failure = failure_of(job, code);
        link->answer(completion, {});
    }
    leave(job, id.epoch, id.slot, code);
}

void Jobs::leave(Job& job, std::uint64_t epoch, std::uint32_t slot, Errc why) {
    const auto waiter = std::find_if(job.waiters.begin(), job.waiters.end(), [&](const Waiter& w) {
        return w.asked.job.epoch == epoch && w.asked.job.slot == slot;
    });
    if (job.waiters.size() == 1) {
        count(job, why);
        answered(job);
        return;
    }
    forget(*waiter);
    job.waiters.erase(waiter);
    job.submission = job.waiters.front().asked;
    job.slab = job.waiters.front().slab;
}

// Its place in nginx's table, its upload memory and its slab are free.
void Jobs::forget(Waiter& waiter) {
    by_place_.erase({waiter.asked.job.epoch, waiter.asked.job.slot});
    parts_.admission.give_back(waiter.asked.job);
    if (waiter.slab) {
        waiter.slab->in_use = false;
    }
}

// After its answer a job is either gone, or works on for nobody until its child says so.
void Jobs::answered(Job& job) {
    for (Waiter& waiter : job.waiters) {
        forget(waiter);
    }
    job.waiters.clear();
    job.slab.reset();
    const auto key = by_key_.find(job.submission.cache_key);
    if (key != by_key_.end() && key->second == job.number) {
        by_key_.erase(key);
    }
    if (job.child == 0) {
        parts_.scheduler.erase(job.lane, job.turn);
        erase(job);
        return;
    }
    stop_work(job);
}

}  // namespace sonogate::broker
