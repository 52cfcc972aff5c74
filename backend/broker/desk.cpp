#include "broker/desk.hpp"

#include <algorithm>
#include <utility>

#include "base/clock.hpp"

namespace sonogate::broker {

namespace {

bool is_well_formed(const Link& link, const shm::Submission& submission) {
    return submission.job.epoch == link.epoch() && submission.request_id.size <= shm::text_bytes &&
           submission.track_id.size <= shm::text_bytes &&
           submission.priority < shm::Priority::count_ &&
           submission.need_bytes <= shm::max_upload_bytes &&
           submission.charged_bytes <= shm::max_upload_bytes;
}

Failure too_many_of(const shm::Submission& submission) {
    return {.code = Errc::concurrency_limited, .limit = submission.most_at_once};
}

Caller caller_of(const shm::Submission& submission) {
    return {submission.caller, submission.most_at_once};
}

}  // namespace

bool Desk::serve(Link& link, const shm::Submission& submission) {
    if (submission.op == shm::Op::release_result) {
        return link.release_result(submission.result_slot, submission.result_generation);
    }
    if (!is_well_formed(link, submission)) {
        return false;
    }
    switch (submission.op) {
        case shm::Op::admit:
            return admit(link, submission);
        case shm::Op::charge:
            return charge(link, submission);
        case shm::Op::give_back:
            return give_back(link, submission);
        case shm::Op::submit:
            return submit(link, submission);
        case shm::Op::cancel:
            parts_.jobs.cancel(submission.job);
            return true;
        case shm::Op::none:
        case shm::Op::release_result:
        case shm::Op::count_:
            break;
    }
    return false;
}

// Why such a job cannot begin now; `ok` where it can. One that nobody is before is always let in:
// that it will take too long is only an estimate.
Errc Desk::refusal(const shm::Submission& submission, std::uint64_t bytes) const {
    if (draining_) {
        return Errc::draining;
    }
    if (needs_disk(submission.endpoint) &&
        !parts_.disk.has_room_for(bytes, parts_.settings.disk_reserve_bytes)) {
        return Errc::insufficient_storage;
    }
    const auto [place, wait_us] = parts_.jobs.prospect_of(submission, bytes);
    const std::uint64_t end_ns = (wait_us + place.turn.cost_us) * 1000U;
    const bool too_late = wait_us != 0 && (wait_us * 1000U > parts_.settings.queue_timeout_ns ||
                                           end_ns > parts_.settings.job_deadline_ns);
    return too_late || !parts_.scheduler.has_room(place.lane, place.turn) ? Errc::overloaded
                                                                          : Errc::ok;
}

void Desk::refuse(Link& link, const shm::Submission& submission, shm::CompletionKind kind,
                  Failure failure) {
    if (kind == shm::CompletionKind::done) {
        parts_.metrics.count_job(submission.endpoint, failure.code);
    }
    shm::Completion completion;
    completion.kind = kind;
    completion.job = submission.job;
    completion.granted_bytes = parts_.admission.held_bytes(submission.job);
    completion.failure.errc = static_cast<std::uint16_t>(failure.code);
    completion.failure.limit = failure.limit;
    completion.failure.value = failure.value;
    if (failure.code == Errc::overloaded || failure.code == Errc::draining) {
        const std::uint64_t bytes = std::max(submission.need_bytes, submission.audio_bytes);
        completion.failure.retry_after_s =
            Scheduler::retry_after_s(parts_.jobs.prospect_of(submission, bytes).wait_us);
    }
    if (failure.code == Errc::rate_limited) {
        const std::uint64_t wait_ns = parts_.blame.budget().wait_ns(submission.identity, now_ns());
        completion.failure.retry_after_s = static_cast<std::uint32_t>(wait_ns / 1'000'000'000 + 1);
    }
    completion.again = failure.code == Errc::draining ? 1 : 0;
    link.answer(completion, {});
}

void Desk::send_grant(Link& link, const Admission::Grant& grant, Errc errc) {
    shm::Completion completion;
    completion.kind = grant.admitted ? shm::CompletionKind::admitted : shm::CompletionKind::charged;
    completion.job = grant.id;
    completion.granted_bytes = grant.held_bytes;
    completion.failure.errc = static_cast<std::uint16_t>(errc);
    link.answer(completion, {});
}

// False where a worker's job is refused: its sender has crashed too many.
bool Desk::has_crashes_left(const shm::Submission& submission) const {
    if (!needs_worker(submission.endpoint) ||
        parts_.blame.budget().wait_ns(submission.identity, now_ns()) == 0) {
        return true;
    }
    parts_.metrics.count_crash_refusal();
    return false;
}

bool Desk::admit(Link& link, const shm::Submission& submission) {
    const auto kind = shm::CompletionKind::admitted;
    if (submission.endpoint >= shm::Endpoint::count_ || parts_.jobs.is_running(submission.job) ||
        parts_.admission.has(submission.job)) {
        return false;
    }
    Errc why = refusal(submission, submission.need_bytes);
    if (why == Errc::ok && parts_.admission.tickets() >= most_tickets) {
        why = Errc::overloaded;
    }
    if (why == Errc::ok && !has_crashes_left(submission)) {
        refuse(link, submission, kind, {.code = Errc::rate_limited});
        return true;
    }
    // An upload that a dead backend had admitted already is not turned away for the queue's length.
    if (why != Errc::ok && (why == Errc::draining || submission.charged_bytes == 0)) {
        refuse(link, submission, kind, {.code = why});
        return true;
    }
    switch (parts_.admission.admit(submission.job, submission.need_bytes, submission.charged_bytes,
                                   caller_of(submission))) {
        case Admission::Answer::granted:
            send_grant(link, {submission.job, true, parts_.admission.held_bytes(submission.job)},
                       Errc::ok);
            return true;
        case Admission::Answer::waits:
            return true;
        case Admission::Answer::too_large:
            refuse(link, submission, kind,
                   {.code = Errc::body_too_large,
                    .limit = parts_.admission.limit_bytes(),
                    .value = submission.need_bytes});
            return true;
        case Admission::Answer::too_many:
            refuse(link, submission, kind, too_many_of(submission));
            return true;
        case Admission::Answer::unknown:
            break;
    }
    return false;
}

bool Desk::charge(Link& link, const shm::Submission& submission) {
    switch (parts_.admission.charge(submission.job, submission.charged_bytes)) {
        case Admission::Answer::granted:
            send_grant(link, {submission.job, false, parts_.admission.held_bytes(submission.job)},
                       Errc::ok);
            return true;
        case Admission::Answer::waits:
            return true;
        case Admission::Answer::too_large:
            refuse(link, submission, shm::CompletionKind::charged,
                   {.code = Errc::body_too_large, .value = submission.charged_bytes});
            return true;
        case Admission::Answer::too_many:  // no answer to a charge
        case Admission::Answer::unknown:
            // Its admit was refused and the answer crossed this.
            refuse(link, submission, shm::CompletionKind::charged, {.code = Errc::overloaded});
            return true;
    }
    return false;
}

bool Desk::give_back(Link& link, const shm::Submission& submission) {
    if (parts_.jobs.is_running(submission.job)) {
        return true;  // the ticket is the job's now, and ends with it
    }
    Admission::Grant waited;
    if (parts_.admission.give_back(submission.job, waited)) {
        send_grant(link, waited, Errc::cancelled);
    }
    return true;
}

// The slab that a job names, checked: known, free, a new use of it, and as long as the job says.
bool Desk::take_slab(Link& link, const shm::Submission& submission, std::shared_ptr<Slab>& slab) {
    if (submission.slab == 0) {
        return submission.params_bytes == 0 && submission.audio_bytes == 0;
    }
    slab = link.slab(submission.slab);
    if (!slab || slab->in_use || submission.params_bytes > shm::slab_params_bytes ||
        submission.audio_bytes > slab->bytes - shm::slab_audio_offset) {
        return false;
    }
    if (slab->used && submission.slab_generation == slab->generation) {
        return false;
    }
    slab->used = true;
    slab->generation = submission.slab_generation;
    return true;
}

// Upload memory for a complete upload; `ok`, or why there is none.
Errc Desk::take_ticket(Link& link, const shm::Submission& submission) {
    const bool has_ticket = (submission.flags & shm::submission_has_ticket) != 0;
    const bool again = (submission.flags & shm::submission_resubmitted) != 0;
    if (has_ticket && !parts_.admission.has(submission.job)) {
        return Errc::overloaded;  // its admit was refused and the answer crossed this
    }
    // What was submitted before is in memory, whether or not there is room for it.
    if (!has_ticket && !again && !parts_.admission.has(submission.job) &&
        !parts_.admission.has_room(submission.audio_bytes)) {
        return Errc::overloaded;
    }
    if (!has_ticket && !again && !parts_.admission.has(submission.job) &&
        !parts_.admission.has_room(caller_of(submission))) {
        return Errc::concurrency_limited;
    }
    Admission::Grant waited;
    if (parts_.admission.settle(submission.job, submission.audio_bytes, waited,
                                caller_of(submission))) {
        send_grant(link, waited, Errc::ok);
    }
    return Errc::ok;
}

bool Desk::submit(Link& link, const shm::Submission& submission) {
    const auto done = shm::CompletionKind::done;
    const bool has_ticket = (submission.flags & shm::submission_has_ticket) != 0;
    if (submission.endpoint == shm::Endpoint::none ||
        submission.endpoint >= shm::Endpoint::count_ || submission.body >= shm::BodyKind::count_ ||
        parts_.jobs.is_running(submission.job) ||
        ((submission.flags & shm::submission_cacheable) != 0 &&
         !shm::may_be_cached(submission.endpoint))) {
        return false;
    }
    std::shared_ptr<Slab> slab;
    if (!take_slab(link, submission, slab)) {
        return false;
    }
    if (submission.endpoint == shm::Endpoint::metrics) {
        shm::Completion completion;
        completion.kind = done;
        completion.job = submission.job;
        completion.status = 200;
        completion.text_plain = 1;
        parts_.admission.give_back(submission.job);
        const std::string text = metrics_text_();
        link.answer(completion, as_bytes_of(text));
        return true;
    }
    Errc why = take_ticket(link, submission);
    const bool may_write = (submission.flags & shm::submission_catalog_write) != 0;
    if (why == Errc::ok && writes_catalog(submission.endpoint) && !may_write) {
        why = Errc::forbidden;
    }
    if (why == Errc::ok && !has_crashes_left(submission)) {
        why = Errc::rate_limited;
    }
    // An answer that is there, or on the way, takes no place in the queue.
    if (why == Errc::ok && !draining_ && parts_.jobs.share(submission, slab)) {
        return true;
    }
    // Who has a ticket was let in when it asked; only a full queue turns it away now.
    if (why == Errc::ok && (!has_ticket || draining_)) {
        why = refusal(submission, submission.audio_bytes);
    } else if (why == Errc::ok) {
        const Jobs::Place place = parts_.jobs.place_of(submission, submission.audio_bytes);
        why = parts_.scheduler.has_room(place.lane, place.turn) ? Errc::ok : Errc::overloaded;
    }
    if (why != Errc::ok) {
        parts_.admission.give_back(submission.job);
        refuse(link, submission, done,
               why == Errc::concurrency_limited ? too_many_of(submission) : Failure{.code = why});
        return true;
    }
    parts_.jobs.start(submission, std::move(slab));
    return true;
}

void Desk::grant_waiting() {
    if (parts_.admission.waiting() == 0) {
        return;
    }
    for (const auto& grant : parts_.admission.take_grants()) {
        if (Link* const link = link_of_(grant.id.epoch)) {
            send_grant(*link, grant, Errc::ok);
        }
    }
}

void Desk::forget_link(Link& link) {
    parts_.jobs.forget_link(link);
    parts_.admission.forget(link.epoch());
}

}  // namespace sonogate::broker
