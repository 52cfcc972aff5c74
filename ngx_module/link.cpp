#include "ngx_module/link.hpp"

#include "base/clock.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

constexpr std::uint64_t patience_ms = 2'000;             // of a new job without a link
constexpr std::uint64_t patience_after_loss_ms = 5'000;  // of one that a backend died with
constexpr std::uint8_t max_resubmissions = 2;
constexpr ngx_msec_t full_retry_ms = 5;
constexpr std::uint64_t max_result_bytes = 4ULL << 30U;
constexpr std::size_t max_result_files = 1024;

shm::Completion unavailable() noexcept {
    shm::Completion out;
    out.failure.errc = static_cast<std::uint16_t>(Errc::backend_unavailable);
    return out;
}

bool is_success(std::uint16_t status) noexcept {
    return status == 200 || status == 201 || status == 204;
}

}  // namespace

shm::JobId Link::id_of(const Job& job) const noexcept {
    return {memory_ ? memory_->epoch : 0, job.slot, job.generation};
}

Result<void> Link::check_usable() const noexcept {
    if (state_ != State::up && now_ms() - down_since_ms_ > patience_ms) {
        return Errc::backend_unavailable;
    }
    return {};
}

bool Link::somebody_waits() const noexcept {
    for (std::uint32_t slot = 0; slot < pending_.slots(); ++slot) {
        const Job* job = pending_.at(slot);
        if (job != nullptr && job->state != JobState::idle) {
            return true;
        }
    }
    return false;
}

// ---- what requests ask for

void Link::replace_slab(Job& job, Slab* slab) noexcept {
    drop_slab(job);
    job.slab = slab;
    publish_memory();
}

Result<void> Link::admit(Job& job, std::uint64_t need_bytes) noexcept {
    if (const auto usable = check_usable(); !usable) {
        return usable;
    }
    job.state = JobState::admitting;
    job.need_bytes = need_bytes;
    job.waits_since_ms = now_ms();
    send_job(job);
    return {};
}

void Link::charge(Job& job, std::uint64_t sum_bytes) noexcept {
    if (job.charging || !job.sent || state_ != State::up) {
        return;
    }
    job.charging = true;
    job.asked_bytes = sum_bytes;
    shm::Submission entry;
    entry.op = shm::Op::charge;
    entry.job = id_of(job);
    entry.charged_bytes = sum_bytes;
    send(entry);
}

Result<void> Link::submit(Job& job, const shm::Submission& submission) noexcept {
    const bool has_ticket = job.state == JobState::admitted;
    if (!has_ticket) {
        if (const auto usable = check_usable(); !usable) {
            return usable;
        }
    }
    job.submission = submission;
    job.submission.op = shm::Op::submit;
    if (has_ticket && job.sent) {
        job.submission.flags |= shm::submission_has_ticket;
    }
    if (job.slab != nullptr) {
        slabs_.count(*job.slab);
        job.submission.slab = job.slab->id();
        job.submission.slab_generation = job.slab->generation();
    }
    job.state = JobState::submitted;
    job.waits_since_ms = now_ms();
    publish_memory();
    send_job(job);
    return {};
}

void Link::abandon(Job& job) noexcept {
    job.owner = nullptr;
    if (job.sent && state_ == State::up && job.state != JobState::idle) {
        shm::Submission entry;
        entry.op = job.state == JobState::submitted ? shm::Op::cancel : shm::Op::give_back;
        entry.job = id_of(job);
        send(entry);
        if (job.state == JobState::submitted) {
            return;
        }
    }
    drop_slab(job);
    pending_.remove(job);
}

void Link::release(Reply& reply) noexcept {
    const shm::Completion& completion = reply.completion;
    if (reply.memory != nullptr) {
        auto& in_use = reply.memory->up().result_bytes_in_use;
        in_use.store(in_use.load(std::memory_order_relaxed) - completion.result_bytes,
                     std::memory_order_relaxed);
    }
    if (completion.place == shm::ResultPlace::slot && reply.memory == memory_ && memory_) {
        shm::Submission entry;
        entry.op = shm::Op::release_result;
        entry.job = completion.job;
        entry.result_slot = completion.result_slot;
        entry.result_generation = completion.result_generation;
        send(entry);
    }
    reply = Reply{};
}

void Link::count(shm::CountedEndpoint endpoint, std::uint16_t status) noexcept {
    const auto& known = shm::counted_statuses;
    const auto found = std::find(known.begin(), known.end(), status);
    const auto column = found == known.end() ? 0U : static_cast<std::size_t>(found - known.begin());
    const auto row = static_cast<std::size_t>(endpoint);
    if (memory_ == nullptr || state_ != State::up) {
        ++counts_before_[row][column];
        return;
    }
    auto& counter = memory_->up().requests[row][column];
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

const shm::LinkDown* Link::published() const noexcept {
    return state_ == State::up ? &memory_->down() : nullptr;
}

// ---- out

void Link::send_job(Job& job) noexcept {
    if (state_ != State::up) {
        job.sent = false;
        schedule(1);
        return;
    }
    shm::Submission entry;
    if (job.state == JobState::submitted) {
        entry = job.submission;
    } else {
        entry.op = shm::Op::admit;
        entry.need_bytes = job.need_bytes;
        entry.charged_bytes = job.held_bytes;
    }
    entry.job = id_of(job);
    job.sent = true;
    send(entry);
}

void Link::send(const shm::Submission& entry) noexcept {
    if (state_ != State::up) {
        return;
    }
    if (!outgoing_.empty() || !push(entry)) {
        outgoing_.push_back(entry);
        schedule(full_retry_ms);
    }
    bell_->ring_if_due();
}

// False where the entry has to wait: for room in the ring, or for its slab's announcement.
bool Link::push(const shm::Submission& entry) noexcept {
    if (entry.op == shm::Op::submit && entry.slab != 0) {
        const Job* job = pending_.find(entry.job.slot, entry.job.generation);
        if (job != nullptr && job->slab != nullptr && !announce(*job->slab)) {
            return false;
        }
    }
    // A head that lies is found out by the timer, out of any request's call.
    return submissions_->push(entry) == shm::RingResult::ok;
}

void Link::flush() noexcept {
    while (!outgoing_.empty() && push(outgoing_.front())) {
        outgoing_.pop_front();
    }
    tell_dropped_slabs();
    bell_->ring_if_due();
    if (!outgoing_.empty() || !dropped_slabs_.empty()) {
        schedule(full_retry_ms);
    }
}

bool Link::announce(Slab& slab) noexcept {
    if (slab.announced_epoch == memory_->epoch) {
        return true;
    }
    shm::SlabAdd message;
    message.slab = slab.id();
    message.segment_bytes = slab.segment_bytes();
    message.warm = slab.warm() ? 1 : 0;
    const int fd = slab.fd();
    // A broken socket is told by its EOF; either way the entry waits.
    if (!shm::send_message(connection_->fd, message, std::span(&fd, 1))) {
        return false;
    }
    slab.announced_epoch = memory_->epoch;
    return true;
}

void Link::tell_dropped_slabs() noexcept {
    while (!dropped_slabs_.empty()) {
        shm::SlabDrop message;
        message.slab = dropped_slabs_.back();
        if (!shm::send_message(connection_->fd, message)) {
            return;
        }
        dropped_slabs_.pop_back();
    }
}

void Link::drop_slab(Job& job) noexcept {
    Slab* slab = job.slab;
    job.slab = nullptr;
    if (slab == nullptr) {
        return;
    }
    const std::uint32_t id = slab->id();
    const bool known = state_ == State::up && slab->announced_epoch == memory_->epoch;
    if (slabs_.give_back(slab) && known) {
        dropped_slabs_.push_back(id);
        tell_dropped_slabs();
        if (!dropped_slabs_.empty()) {
            schedule(full_retry_ms);
        }
    }
    publish_memory();
}

void Link::publish_memory() noexcept {
    if (state_ == State::up) {
        memory_->up().upload_slab_bytes.store(slabs_.bytes(), std::memory_order_relaxed);
    }
}

// ---- in

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

// ---- the link comes and goes

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
        job->charging = false;
        job->waits_since_ms = now;
        if (job->state == JobState::submitted && job->sent) {
            ++job->resubmissions;
            job->submission.flags |= shm::submission_resubmitted;
        }
        job->submission.flags &= static_cast<std::uint16_t>(~shm::submission_has_ticket);
        job->sent = false;
    }
}

// Jobs that waited long enough for a link, or lost it too often.
void Link::expire_waiting() noexcept {
    const std::uint64_t now = now_ms();
    for (std::uint32_t slot = 0; slot < pending_.slots(); ++slot) {
        Job* job = pending_.at(slot);
        if (job == nullptr || job->sent || job->state == JobState::idle) {
            continue;
        }
        const bool lost = job->resubmissions > 0 || job->state == JobState::admitted;
        const std::uint64_t patience = lost ? patience_after_loss_ms : patience_ms;
        if (job->resubmissions > max_resubmissions || now - job->waits_since_ms > patience) {
            fail(*job, unavailable());
        }
    }
}

}  // namespace sonogate::ngx_module
