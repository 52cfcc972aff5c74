#include "ngx_module/link.hpp"

#include "base/clock.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

constexpr ngx_msec_t full_retry_ms = 5;
constexpr ngx_msec_t trim_every_ms = 5'000;
constexpr std::uint64_t longest_silence_ns = 3'000'000'000;  // the broker beats every second

}  // namespace

shm::JobId Link::id_of(const Job& job) const noexcept {
    return {memory_ ? memory_->epoch : 0, job.slot, job.generation};
}

bool Link::is_hung() const noexcept {
    if (state_ != State::up) {
        return false;
    }
    const std::uint64_t beat_ns = memory_->down().heartbeat_ns.load(std::memory_order_relaxed);
    const std::uint64_t now = now_ns();
    return now > beat_ns && now - beat_ns > longest_silence_ns;
}

Result<void> Link::check_usable() noexcept {
    const bool hung = is_hung();
    if (hung != told_hung_) {
        told_hung_ = hung;
        if (hung) {
            ngx_log_error(NGX_LOG_ERR, log_, 0,
                          "sonogate: pool \"%V\": no sign of life of the backend, requests are "
                          "refused",
                          &pool_.name);
        } else if (state_ == State::up) {
            ngx_log_error(NGX_LOG_NOTICE, log_, 0,
                          "sonogate: pool \"%V\": the backend is alive again", &pool_.name);
        }
    }
    if (hung || (state_ != State::up && now_ms() - down_since_ms_ > patience_ms)) {
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

const LinkMemory* Link::cache() const noexcept {
    const bool wanted = pool_.settings.result_cache_bytes != 0;
    return wanted && state_ == State::up && memory_->cache_segment ? memory_.get() : nullptr;
}

void Link::count_lookup() noexcept {
    auto& lookups = memory_->up().cache_lookups;
    lookups.store(lookups.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// The broker learns of it when it next runs: recency is worth no wake-up.
void Link::count_hit(std::uint32_t entry) noexcept {
    shm::LinkUp& up = memory_->up();
    const std::uint64_t hits = up.cache_hits.load(std::memory_order_relaxed);
    up.hit_entries[hits % shm::noted_hits].store(entry, std::memory_order_relaxed);
    // release pairs with the broker's acquire: it sees the entry that it counts.
    up.cache_hits.store(hits + 1, std::memory_order_release);
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
        entry.endpoint = job.endpoint;
        entry.need_bytes = job.need_bytes;
        entry.charged_bytes = job.held_bytes;
    }
    entry.caller = job.caller;
    entry.most_at_once = job.most_at_once;
    entry.identity = job.identity;
    entry.priority = job.priority;
    entry.job = id_of(job);
    job.sent = true;
    job.held = false;
    send(entry);
}

void Link::send(const shm::Submission& entry) noexcept {
    if (state_ != State::up) {
        return;
    }
    if (!outgoing_.empty() || !push(entry)) {
        outgoing_.push_back(entry);
        schedule(full_retry_ms);
        return;
    }
    // A free slot is worth no wake-up: the broker finds it beside the next submission.
    if (entry.op != shm::Op::release_result && !bell_event_.posted) {
        ngx_post_event(&bell_event_, &ngx_posted_events);
    }
}

// After all events of this turn: one bell for what they submitted.
void Link::ring(ngx_event_t* event) noexcept {
    auto* link = static_cast<Link*>(event->data);
    if (link->state_ == State::up) {
        link->bell_->ring_if_due();
    }
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
    bool pushed = false;
    while (!outgoing_.empty() && push(outgoing_.front())) {
        outgoing_.pop_front();
        pushed = true;
    }
    flush_dropped_slabs();
    if (pushed) {  // two ends that ring whenever the other sleeps keep each other awake for ever
        bell_->ring_if_due();
    }
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
    announced_.push_back(slab.id());
    return true;
}

void Link::flush_dropped_slabs() noexcept {
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
    if (slabs_.give_back(slab)) {
        tell_dropped(id);
    } else if (!trim_timer_.timer_set && !slabs_.idle()) {
        ngx_add_timer(&trim_timer_, trim_every_ms);
    }
    publish_memory();
}

// A number that the broker does not know, or knew on another link, is nothing to tell.
void Link::tell_dropped(std::uint32_t slab) noexcept {
    const auto known = std::find(announced_.begin(), announced_.end(), slab);
    if (state_ != State::up || known == announced_.end()) {
        return;
    }
    *known = announced_.back();
    announced_.pop_back();
    dropped_slabs_.push_back(slab);
    flush_dropped_slabs();
    if (!dropped_slabs_.empty()) {
        schedule(full_retry_ms);
    }
}

void Link::trim(ngx_event_t* event) noexcept {
    static_cast<Link*>(event->data)->on_trim();
}

void Link::on_trim() noexcept {
    slabs_.trim([this](std::uint32_t slab) { tell_dropped(slab); });
    publish_memory();
    if (!slabs_.idle() && !ngx_exiting) {
        ngx_add_timer(&trim_timer_, trim_every_ms);
    }
}

void Link::publish_memory() noexcept {
    if (state_ == State::up) {
        memory_->up().upload_slab_bytes.store(slabs_.bytes(), std::memory_order_relaxed);
    }
}

}  // namespace sonogate::ngx_module
