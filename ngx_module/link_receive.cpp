// What comes back on a link: completions, descriptors of large results; and what the loss of a link
// means for the jobs on it.
#include "ngx_module/link.hpp"

#include <algorithm>

#include "base/clock.hpp"

namespace sonogate::ngx_module {

namespace {

// Of one that a backend died with, or that waits for the successor of one that drains.
constexpr std::uint64_t patience_after_loss_ms = 5'000;
constexpr ngx_msec_t look_at_held_ms = 100;
constexpr std::uint8_t max_resubmissions = 2;
constexpr std::uint64_t max_result_bytes = 4ULL << 30U;
constexpr std::size_t max_result_files = 1024;

shm::Completion refusal(Errc why) noexcept {
    shm::Completion out;
    out.failure.errc = static_cast<std::uint16_t>(why);
    return out;
}

bool is_success(std::uint16_t status) noexcept {
    return status == 200 || status == 201 || status == 204;
}

}  // namespace

void Link::handle(shm::Message& message) noexcept {
    if (message.is_bell()) {
        return;
    }
    const auto file = message.kind() == shm::MessageKind::result_file
                          ? message.as<shm::ResultFile>(1)
                          : Result<shm::ResultFile>(Errc::malformed_request);
    if (!file || file->result_bytes > max_result_bytes ||
        result_files_.size() >= max_result_files ||
        !shm::verify_segment(message.fds[0].get(), file->result_bytes, shm::finished_seals)) {
        go_down("the backend sent a message that is none of ours");
        return;
    }
    result_files_.emplace_back(file->token, std::move(message.fds[0]));
}

void Link::drain() noexcept {
    sleeper_->disarm();
    for (;;) {
        shm::Completion completion;
        const shm::RingResult popped = completions_->pop(completion);
        if (popped == shm::RingResult::lie) {
            go_down("the backend's ring index is out of bounds");
            return;
        }
        if (popped == shm::RingResult::ok) {
            const std::uint64_t epoch = memory_->epoch;
            if (!complete(completion) && state_ == State::up && memory_->epoch == epoch) {
                go_down("the backend sent a completion that is none of ours");
            }
            if (state_ != State::up) {
                return;
            }
            continue;
        }
        sleeper_->arm();
        if (completions_->empty()) {
            break;
        }
        sleeper_->disarm();
    }
    flush();
}

// False for a lie.
bool Link::complete(const shm::Completion& completion) noexcept {
    if (completion.kind == shm::CompletionKind::none ||
        completion.kind >= shm::CompletionKind::count_ || completion.failure.errc >= errc_count ||
        completion.failure.parameter >= parameter_count) {
        return false;
    }
    Job* job = completion.job.epoch == memory_->epoch
                   ? pending_.find(completion.job.slot, completion.job.generation)
                   : nullptr;
    const bool failed = completion.failure.errc != 0;
    if (job != nullptr && job->owner != nullptr && failed && completion.again == 1) {
        hold(*job);
        return true;
    }
    if (completion.kind == shm::CompletionKind::done) {
        if (job != nullptr && !failed && job->state != JobState::submitted) {
            return false;
        }
        if (job != nullptr) {
            return finish(*job, completion);
        }
        Reply stale;
        if (failed || !claim(completion, stale)) {
            return failed;
        }
        release(stale);
        return true;
    }
    if (job == nullptr || job->state == JobState::submitted || job->state == JobState::idle) {
        return true;  // an answer that crossed our own record
    }
    if (failed) {
        fail(*job, completion);
        return true;
    }
    job->state = JobState::admitted;
    job->charging = false;
    job->granted_bytes = std::min(completion.granted_bytes, job->need_bytes);
    job->owner->on_grant();
    return true;
}

bool Link::finish(Job& job, const shm::Completion& completion) noexcept {
    if (completion.failure.errc != 0) {
        fail(job, completion);
        return true;
    }
    Reply reply;
    if (!is_success(completion.status) || !claim(completion, reply)) {
        return false;
    }
    JobOwner* owner = job.owner;
    drop_slab(job);
    pending_.remove(job);
    if (owner == nullptr) {
        release(reply);
    } else {
        owner->on_reply(std::move(reply));
    }
    return true;
}

bool Link::claim(const shm::Completion& completion, Reply& reply) noexcept {
    reply.completion = completion;
    reply.memory = memory_;
    if (completion.place == shm::ResultPlace::slot) {
        if (completion.result_slot >= shm::result_slots ||
            completion.result_bytes > shm::result_slot_bytes(completion.result_slot)) {
            return false;
        }
        reply.bytes = {memory_->results.data() + shm::result_slot_offset(completion.result_slot),
                       static_cast<std::size_t>(completion.result_bytes)};
    } else if (completion.place == shm::ResultPlace::file) {
        const auto named = [&](const auto& file) { return file.first == completion.result_slot; };
        auto found = std::find_if(result_files_.begin(), result_files_.end(), named);
        // The descriptor was sent before the completion, but on the socket.
        for (shm::Message message; found == result_files_.end();) {
            if (shm::receive_message(connection_->fd, message, false) != shm::Received::message) {
                return false;
            }
            handle(message);
            if (state_ != State::up) {
                return false;
            }
            found = std::find_if(result_files_.begin(), result_files_.end(), named);
        }
        reply.file = std::move(found->second);
        result_files_.erase(found);
        if (!shm::verify_segment(reply.file.get(), completion.result_bytes, shm::finished_seals)) {
            return false;
        }
    } else if (completion.place != shm::ResultPlace::none || completion.result_bytes != 0) {
        return false;
    }
    auto& in_use = memory_->up().result_bytes_in_use;
    in_use.store(in_use.load(std::memory_order_relaxed) + completion.result_bytes,
                 std::memory_order_relaxed);
    return true;
}

void Link::fail(Job& job, const shm::Completion& completion) noexcept {
    JobOwner* owner = job.owner;
    if (job.state == JobState::admitted && job.sent && state_ == State::up) {
        shm::Submission entry;  // a charge was refused: the ticket is still held
        entry.op = shm::Op::give_back;
        entry.job = id_of(job);
        send(entry);
    }
    drop_slab(job);
    pending_.remove(job);
    if (owner != nullptr) {
        owner->on_failure(completion);
    }
}

// A daemon that drains takes nothing new. The job waits for the next one, which connects as soon as
// this one is gone, as it would if it had come a moment later.
void Link::hold(Job& job) noexcept {
    if (!job.held) {
        job.held = true;
        job.waits_since_ms = now_ms();
    }
    forget_broker(job);
    holds_ = true;
    schedule(look_at_held_ms);
}

// ---- the link comes and goes

// What the job has of this broker, the next one does not know: neither ticket nor cache's key.
void Link::forget_broker(Job& job) noexcept {
    job.charging = false;
    job.sent = false;
    job.submission.flags &=
        static_cast<std::uint16_t>(~(shm::submission_has_ticket | shm::submission_cacheable));
}

// The backend is gone: what it had is ours again.
void Link::forget_sent() noexcept {
    const std::uint64_t now = now_ms();
    for (std::uint32_t slot = 0; slot < pending_.slots(); ++slot) {
        Job* job = pending_.at(slot);
        if (job == nullptr) {
            continue;
        }
        if (job->owner == nullptr) {
            drop_slab(*job);
            pending_.remove(*job);
            continue;
        }
        job->waits_since_ms = now;
        if (job->state == JobState::submitted && job->sent) {
            ++job->resubmissions;
            job->submission.flags |= shm::submission_resubmitted;
        }
        forget_broker(*job);
    }
}

// Jobs that waited long enough for a link, or lost it too often.
void Link::expire_waiting() noexcept {
    const std::uint64_t now = now_ms();
    holds_ = false;
    for (std::uint32_t slot = 0; slot < pending_.slots(); ++slot) {
        Job* job = pending_.at(slot);
        if (job == nullptr || job->sent || job->state == JobState::idle) {
            continue;
        }
        const bool lost = job->resubmissions > 0 || job->held || job->state == JobState::admitted;
        const std::uint64_t patience = lost ? patience_after_loss_ms : patience_ms;
        if (job->resubmissions > max_resubmissions || now - job->waits_since_ms > patience) {
            fail(*job, refusal(job->held ? Errc::draining : Errc::backend_unavailable));
        } else if (job->held && state_ == State::up) {
            holds_ = true;
        }
    }
    if (holds_) {
        schedule(look_at_held_ms);
    }
}

}  // namespace sonogate::ngx_module
