// The child's end of a channel: one peer, one socket, one sleep.
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/clock.hpp"
#include "shm/channel.hpp"

namespace sonogate::shm {

namespace {

constexpr std::uint64_t look_for_broker_ns = 20'000'000;

bool inside(std::uint64_t offset, std::uint64_t bytes, std::uint64_t whole) noexcept {
    return offset <= whole && bytes <= whole - offset;
}

}  // namespace

Result<ChildChannel> ChildChannel::open(UniqueFd socket, std::uint32_t sandbox) noexcept {
    auto out = make(std::move(socket));
    if (!out) {
        return out;
    }
    if (const auto met = out->meet(sandbox); !met) {
        return met.failure();
    }
    return out;
}

Result<ChildChannel> ChildChannel::make(UniqueFd socket) noexcept {
    auto segment = OwnedSegment::create("sonogate-channel-out", sizeof(ChannelOut));
    if (!segment) {
        return segment.failure();
    }
    ChildChannel out(std::move(socket));
    out.out_ = std::move(*segment);
    auto& published = out.published();
    write_header(published.header, sizeof(ChannelOut), 0);
    out.sleeper_.emplace(published.armed);
    return out;
}

Result<void> ChildChannel::meet(std::uint32_t sandbox) noexcept {
    const ChannelHello hello{.segment_bytes = sizeof(ChannelOut), .sandbox = sandbox};
    const int fd = out_.fd();
    if (const auto sent = send_message(socket_.get(), hello, {&fd, 1}); !sent) {
        return sent.failure();
    }
    out_.close_fd();
    return wait_for_broker();
}

Result<void> ChildChannel::wait_for_broker() noexcept {
    Message message;
    Received received = Received::nothing;
    do {
        received = receive_message(socket_.get(), message, true);
    } while (received == Received::nothing || (received == Received::message && message.is_bell()));
    if (received != Received::message) {
        return received == Received::closed ? Errc::backend_unavailable : Errc::malformed_request;
    }
    const auto hello = message.as<ChannelHello>(1);
    if (!hello || !check_channel_hello(*hello, sizeof(ChannelIn))) {
        return Errc::malformed_request;
    }
    auto mapping = map_peer_headed(message.fds[0].get(), sizeof(ChannelIn));
    if (!mapping) {
        return mapping.failure();
    }
    in_ = std::move(*mapping);
    auto& published = *out_.as<ChannelOut>();
    consumer_.emplace(in().jobs, in().job_tail, published.job_head);
    producer_.emplace(published.done, published.done_tail, in().done_head);
    bell_.emplace(in().armed, socket_.get());
    return {};
}

Received ChildChannel::receive(bool wait) noexcept {
    Message message;
    const Received received = receive_message(socket_.get(), message, wait);
    if (received != Received::message || message.is_bell()) {
        broken_ = broken_ || received == Received::closed || received == Received::lie;
        return received;
    }
    const auto file = message.as<InputFile>(1);
    if (!file || file_count_ == files_.size()) {
        broken_ = true;
        return Received::lie;
    }
    files_[file_count_++] = {file->number, file->segment_bytes, std::move(message.fds[0])};
    return Received::message;
}

bool ChildChannel::take_file(ReceivedJob& out) noexcept {
    const auto matches = [&](const WaitingFile& file) { return file.number == out.job.number; };
    auto end = files_.begin() + static_cast<std::ptrdiff_t>(file_count_);
    auto found = std::find_if(files_.begin(), end, matches);
    // Sent before its job: if it is not here, it is in the socket.
    while (found == end && receive(false) == Received::message) {
        end = files_.begin() + static_cast<std::ptrdiff_t>(file_count_);
        found = std::find_if(files_.begin(), end, matches);
    }
    if (found == end) {
        return false;
    }
    // Closed when this returns: the mapping goes with the job, and nothing of it stays open.
    const UniqueFd fd = std::move(found->fd);
    auto mapping = map_peer_segment(fd.get(), found->bytes);
    std::move(found + 1, end, found);
    --file_count_;
    if (!mapping) {
        return false;
    }
    out.file = std::move(*mapping);
    return true;
}

bool ChildChannel::bind_input(ReceivedJob& out) noexcept {
    const Job& job = out.job;
    Bytes whole{in().arena, channel_arena_bytes};
    out.file = Mapping();
    if ((job.flags & job_input_in_file) != 0) {
        if (!take_file(out)) {
            return false;
        }
        whole = {out.file.data(), out.file.size()};
    }
    if (!inside(job.params_offset, job.params_bytes, whole.size()) ||
        !inside(job.body_offset, job.body_bytes, whole.size())) {
        return false;
    }
    out.params = whole.subspan(job.params_offset, job.params_bytes);
    out.body = whole.subspan(job.body_offset, job.body_bytes);
    return true;
}

bool ChildChannel::take(ReceivedJob& out) noexcept {
    if (broken_) {
        return false;
    }
    const RingResult result = consumer_->pop(out.job);
    if (result == RingResult::none) {
        return false;
    }
    if (result == RingResult::lie || !bind_input(out)) {
        broken_ = true;
        return false;
    }
    return true;
}

bool ChildChannel::next(ReceivedJob& out) noexcept {
    for (;;) {
        if (take(out)) {
            return true;
        }
        if (broken_) {
            return false;
        }
        // Others run once before this sleeps: a job that they bring meanwhile costs no bell.
        ::sched_yield();
        if (!consumer_->empty()) {
            continue;
        }
        arm();
        if (consumer_->empty()) {
            const Received received = receive(true);
            if (received == Received::closed || received == Received::lie) {
                return false;
            }
        }
        disarm();
    }
}

Result<void> ChildChannel::send_result_file(const JobDone& done, Bytes result) noexcept {
    auto file = make_result_file(result);
    if (!file) {
        return file.failure();
    }
    const ResultFile message{.token = done.token, .result_bytes = result.size()};
    const int fd = file->get();
    for (;;) {
        const auto sent = send_message(socket_.get(), message, {&fd, 1});
        if (sent) {
            return {};
        }
        if (sent.failure().code != Errc::overloaded) {
            return Errc::backend_unavailable;
        }
        pollfd writable{.fd = socket_.get(), .events = POLLOUT, .revents = 0};
        (void)::poll(&writable, 1, 1000);
        if ((writable.revents & (POLLHUP | POLLERR)) != 0) {
            return Errc::backend_unavailable;
        }
    }
}

Result<void> ChildChannel::complete(const JobDone& answer, Bytes result) noexcept {
    JobDone done = answer;
    done.result_bytes = result.size();
    done.token = 0;
    if (result.empty()) {
        done.place = ResultPlace::none;
    } else if (result.size() <= channel_result_bytes) {
        done.place = ResultPlace::slot;
        // The slot of a position is ours once the broker released the entry that stood there.
        if (producer_->room() == 0) {
            return Errc::backend_unavailable;
        }
        std::memcpy(published().results[producer_->next_position()], result.data(), result.size());
    } else {
        done.place = ResultPlace::file;
        done.token = next_token_++;
        if (const auto sent = send_result_file(done, result); !sent) {
            return sent.failure();
        }
    }
    published().progress_ns.store(now_ns(), std::memory_order_relaxed);
    // No more jobs are in flight than the ring has entries, so it has room, or the broker lies.
    if (producer_->push(done) != RingResult::ok) {
        return Errc::backend_unavailable;
    }
    bell_->ring_if_due();
    return {};
}

Result<void> ChildChannel::fail(JobDone done, const Failure& failure) noexcept {
    done.status = 0;
    done.failure.errc = static_cast<std::uint16_t>(failure.code);
    done.failure.parameter = static_cast<std::uint16_t>(failure.parameter);
    done.failure.limit = failure.limit;
    done.failure.value = failure.value;
    return complete(done, {});
}

bool ChildChannel::stop_requested(const Job& job) noexcept {
    if (broken_ || is_cancelled(job.number)) {
        return true;
    }
    const std::uint64_t now = now_ns();
    if (job.deadline_ns != 0 && now > job.deadline_ns) {
        return true;
    }
    if (now - looked_ns_ > look_for_broker_ns) {
        looked_ns_ = now;
        published().progress_ns.store(now, std::memory_order_relaxed);
        broken_ = peer_closed(socket_.get());
    }
    return broken_;
}

bool ChildChannel::is_cancelled(std::uint64_t number) const noexcept {
    // relaxed: the word stands alone, see BrokerChannel::cancel().
    return in().cancelled_number.load(std::memory_order_relaxed) == number;
}

LogLevel ChildChannel::log_level() const noexcept {
    return static_cast<LogLevel>(in().log_level.load(std::memory_order_relaxed));
}

void ChildChannel::announce() noexcept {
    const char byte = 0;
    (void)::send(socket_.get(), &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace sonogate::shm
