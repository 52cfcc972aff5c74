// The broker's end of a channel. The child's end is in child_channel.cpp.
#include "shm/channel.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace sonogate::shm {

Result<BrokerChannel> BrokerChannel::open(UniqueFd socket) noexcept {
    auto segment = OwnedSegment::create("sonogate-channel-in", sizeof(ChannelIn));
    if (!segment) {
        return segment.failure();
    }
    BrokerChannel out(std::move(socket));
    out.in_ = std::move(*segment);
    auto& in = *out.in_.as<ChannelIn>();
    write_header(in.header, sizeof(ChannelIn), 0);
    out.sleeper_.emplace(in.armed);
    const ChannelHello hello{.segment_bytes = sizeof(ChannelIn)};
    const int fd = out.in_.fd();
    if (const auto sent = send_message(out.socket_.get(), hello, {&fd, 1}); !sent) {
        return sent.failure();
    }
    out.in_.close_fd();
    return out;
}

Received BrokerChannel::receive() noexcept {
    Message message;
    const Received received = receive_message(socket_.get(), message, false);
    if (received != Received::message || message.is_bell()) {
        return received;
    }
    const bool fine = message.kind() == MessageKind::hello         ? take_hello(message)
                      : message.kind() == MessageKind::result_file ? take_result_file(message)
                                                                   : false;
    return fine ? Received::message : Received::lie;
}

bool BrokerChannel::take_hello(Message& message) noexcept {
    const auto hello = message.as<ChannelHello>(1);
    if (!hello || connected() || !check_channel_hello(*hello, sizeof(ChannelOut))) {
        return false;
    }
    auto mapping = map_peer_headed(message.fds[0].get(), sizeof(ChannelOut));
    if (!mapping) {
        return false;
    }
    out_ = std::move(*mapping);
    sandbox_ = hello->sandbox;
    auto& in = *in_.as<ChannelIn>();
    const ChannelOut& out = published();
    producer_.emplace(in.jobs, in.job_tail, out.job_head);
    consumer_.emplace(out.done, out.done_tail, in.done_head);
    bell_.emplace(out.armed, socket_.get());
    return true;
}

bool BrokerChannel::take_result_file(Message& message) noexcept {
    const auto file = message.as<ResultFile>(1);
    if (!file || file_count_ == files_.size() ||
        !verify_segment(message.fds[0].get(), file->result_bytes, finished_seals)) {
        return false;
    }
    files_[file_count_++] = {file->token, file->result_bytes, std::move(message.fds[0])};
    return true;
}

Result<void> BrokerChannel::submit(const Job& wanted, Bytes params, Bytes body) noexcept {
    Job job = wanted;
    const std::uint64_t body_at = (params.size() + cache_line_bytes - 1) & ~(cache_line_bytes - 1);
    const std::uint64_t bytes = body_at + body.size();
    if (bytes > channel_arena_bytes) {
        return Failure{.code = Errc::job_too_large, .limit = channel_arena_bytes, .value = bytes};
    }
    if (!connected() || in_flight_count_ == in_flight_.size() || producer_->room() == 0) {
        return Errc::overloaded;
    }
    const auto offset = arena_.allocate(bytes);
    if (!offset) {
        return Errc::overloaded;
    }
    std::byte* const at = in_.as<ChannelIn>()->arena + *offset;
    if (!params.empty()) {
        std::memcpy(at, params.data(), params.size());
    }
    if (!body.empty()) {
        std::memcpy(at + body_at, body.data(), body.size());
    }
    job.flags &= ~static_cast<std::uint32_t>(job_input_in_file);
    job.params_offset = *offset;
    job.params_bytes = static_cast<std::uint32_t>(params.size());
    job.body_offset = *offset + body_at;
    job.body_bytes = body.size();
    remember(job.number, offset);
    producer_->push(job);
    unrung_ = true;
    return {};
}

Result<void> BrokerChannel::submit_file(const Job& wanted, int fd,
                                        std::uint64_t segment_bytes) noexcept {
    Job job = wanted;
    assert(job.params_offset + job.params_bytes <= segment_bytes &&
           job.body_offset + job.body_bytes <= segment_bytes);
    if (!connected() || in_flight_count_ == in_flight_.size() || producer_->room() == 0) {
        return Errc::overloaded;
    }
    const InputFile file{.number = job.number, .segment_bytes = segment_bytes};
    if (const auto sent = send_message(socket_.get(), file, {&fd, 1}); !sent) {
        return sent.failure();
    }
    job.flags |= job_input_in_file;
    remember(job.number, std::nullopt);
    producer_->push(job);
    unrung_ = true;
    return {};
}

void BrokerChannel::remember(std::uint64_t number,
                             std::optional<std::uint64_t> arena_offset) noexcept {
    in_flight_[in_flight_count_++] = {number, arena_offset};
}

void BrokerChannel::set_log_level(LogLevel level) noexcept {
    in_.as<ChannelIn>()->log_level.store(static_cast<std::uint32_t>(level),
                                         std::memory_order_relaxed);
}

void BrokerChannel::cancel(std::uint64_t number) noexcept {
    // relaxed: the word stands alone; a child that reads it late works a little longer.
    in_.as<ChannelIn>()->cancelled_number.store(number, std::memory_order_relaxed);
}

bool BrokerChannel::known(std::uint64_t number) const noexcept {
    return std::any_of(in_flight_.begin(),
                       in_flight_.begin() + static_cast<std::ptrdiff_t>(in_flight_count_),
                       [&](const InFlight& job) { return job.number == number; });
}

bool BrokerChannel::find_file(ChannelAnswer& out) noexcept {
    const auto matches = [&](const ReceivedFile& file) { return file.token == out.entry.token; };
    auto end = files_.begin() + static_cast<std::ptrdiff_t>(file_count_);
    auto found = std::find_if(files_.begin(), end, matches);
    // The descriptor was sent before the entry was pushed: if it is not here, it is in the socket.
    while (found == end && receive() == Received::message) {
        end = files_.begin() + static_cast<std::ptrdiff_t>(file_count_);
        found = std::find_if(files_.begin(), end, matches);
    }
    if (found == end || found->bytes != out.entry.result_bytes) {
        return false;
    }
    out.file = std::move(found->fd);
    std::move(found + 1, end, found);
    --file_count_;
    return true;
}

RingResult BrokerChannel::peek(ChannelAnswer& out) noexcept {
    if (!connected()) {
        return RingResult::none;
    }
    out.file.reset();
    out.bytes = {};
    std::uint32_t position = 0;
    const RingResult result = consumer_->peek(out.entry, position);
    if (result != RingResult::ok) {
        return result;
    }
    const JobDone& entry = out.entry;
    if (!known(entry.number) || entry.failure.errc >= errc_count ||
        entry.failure.parameter >= parameter_count || entry.audio.format >= AudioFormat::count_ ||
        entry.track_id.size > text_bytes) {
        return RingResult::lie;
    }
    switch (entry.place) {
        case ResultPlace::none:
            return entry.result_bytes == 0 ? RingResult::ok : RingResult::lie;
        case ResultPlace::slot:
            if (entry.result_bytes > channel_result_bytes) {
                return RingResult::lie;
            }
            out.bytes = {published().results[position],
                         static_cast<std::size_t>(entry.result_bytes)};
            return RingResult::ok;
        case ResultPlace::file:
            return find_file(out) ? RingResult::ok : RingResult::lie;
        case ResultPlace::count_:
            break;
    }
    return RingResult::lie;
}

void BrokerChannel::release(std::uint64_t number) noexcept {
    const auto end = in_flight_.begin() + static_cast<std::ptrdiff_t>(in_flight_count_);
    const auto found = std::find_if(in_flight_.begin(), end,
                                    [&](const InFlight& j) { return j.number == number; });
    assert(found != end);
    if (found->arena_offset) {
        arena_.release(*found->arena_offset);
    }
    std::move(found + 1, end, found);
    --in_flight_count_;
    consumer_->release();
}

}  // namespace sonogate::shm
