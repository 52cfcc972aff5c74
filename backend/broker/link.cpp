#include "broker/link.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "base/clock.hpp"
#include "shm/handshake.hpp"

namespace sonogate::broker {

Link::Event Link::receive(shm::Hello& hello, UniqueFd& link_up) {
    shm::Message message;
    switch (shm::receive_message(socket_.get(), message, false)) {
        case shm::Received::nothing:
            return Event::nothing;
        case shm::Received::closed:
            return Event::closed;
        case shm::Received::lie:
            return Event::lie;
        case shm::Received::message:
            break;
    }
    if (message.is_bell()) {
        return Event::taken;
    }
    if (is_open()) {
        return take_slab(message) ? Event::taken : Event::lie;
    }
    const auto said = message.as<shm::Hello>(1);
    if (message.kind() != shm::MessageKind::hello || !said) {
        return Event::lie;
    }
    hello = *said;
    link_up = std::move(message.fds[0]);
    return Event::hello;
}

bool Link::take_slab(shm::Message& message) {
    if (message.kind() == shm::MessageKind::slab_add) {
        const auto add = message.as<shm::SlabAdd>(1);
        return add && slabs_.add(*add, std::move(message.fds[0]));
    }
    if (message.kind() == shm::MessageKind::slab_drop) {
        const auto drop = message.as<shm::SlabDrop>(0);
        return drop && slabs_.drop(drop->slab);
    }
    return false;
}

Result<void> Link::welcome(UniqueFd link_up, std::uint64_t epoch, const ResultCache& cache) {
    auto up = shm::map_peer_headed(link_up.get(), sizeof(shm::LinkUp));
    if (!up) {
        return up.failure();
    }
    auto down = shm::OwnedSegment::create("sonogate-link-down", sizeof(shm::LinkDown));
    auto results = shm::OwnedSegment::create("sonogate-results", shm::result_segment_bytes);
    if (!down || !results) {
        return down ? results.failure() : down.failure();
    }
    auto& shared = *down->as<shm::LinkDown>();
    shm::write_header(shared.header, sizeof(shm::LinkDown), epoch);
    shared.heartbeat_ns.store(now_ns(), std::memory_order_relaxed);
    shm::Welcome message{.epoch = epoch};
    std::array<int, 3> fds{down->fd(), results->fd(), -1};
    std::size_t fd_count = 2;
    if (cache.is_on()) {
        message.cache_bytes = cache.segment_bytes();
        message.cache_hash_key = cache.hash_key();
        fds[fd_count++] = cache.fd();
    }
    if (const auto sent = shm::send_message(socket_.get(), message, std::span(fds).first(fd_count));
        !sent) {
        return sent.failure();
    }
    epoch_ = epoch;
    up_ = std::move(*up);
    down_ = std::move(*down);
    result_segment_ = std::move(*results);
    down_.close_fd();
    result_segment_.close_fd();
    consumer_.emplace(this->up().submissions, this->up().submission_tail, shared.submission_head);
    producer_.emplace(shared.completions, shared.completion_tail, this->up().completion_head);
    sleeper_.emplace(shared.armed);
    bell_.emplace(this->up().armed, socket_.get());
    return {};
}

void Link::refuse(Errc why) {
    const shm::Welcome message{.errc = static_cast<std::uint32_t>(why)};
    (void)shm::send_message(socket_.get(), message);
}

std::shared_ptr<Slab> Link::slab(std::uint32_t number) {
    auto found = slabs_.find(number);
    shm::Hello hello;
    UniqueFd link_up;
    while (!found && receive(hello, link_up) == Event::taken) {
        found = slabs_.find(number);
    }
    return found;
}

void Link::answer(const shm::Completion& answered, Bytes body) {
    shm::Completion completion = answered;
    completion.result_bytes = body.size();
    completion.place = shm::ResultPlace::none;
    if (body.empty()) {
        push({completion, {}});
        return;
    }
    if (const auto lease = results_.lease(body.size())) {
        std::memcpy(result_segment_.data() + shm::result_slot_offset(lease->slot), body.data(),
                    body.size());
        completion.place = shm::ResultPlace::slot;
        completion.result_slot = lease->slot;
        completion.result_generation = lease->generation;
        push({completion, {}});
        return;
    }
    auto file = shm::make_result_file(body);
    if (!file) {
        completion.status = 0;
        completion.result_bytes = 0;
        completion.failure.errc = static_cast<std::uint16_t>(Errc::internal);
        push({completion, {}});
        return;
    }
    answer_file(completion, std::move(*file));
}

void Link::answer_file(const shm::Completion& answered, UniqueFd file) {
    shm::Completion completion = answered;
    completion.place = shm::ResultPlace::file;
    completion.result_slot = next_token_++;
    push({completion, std::move(file)});
}

void Link::take_hits(ResultCache& cache) {
    // acquire pairs with nginx's release: the entries of the hits counted are noted.
    const std::uint64_t hits = up().cache_hits.load(std::memory_order_acquire);
    // Older ones were written over; whoever lies about their number is believed the last ones.
    const std::uint64_t noted = std::min<std::uint64_t>(hits - hits_taken_, shm::noted_hits);
    for (std::uint64_t i = hits - noted; i != hits; ++i) {
        cache.touch(up().hit_entries[i % shm::noted_hits].load(std::memory_order_relaxed));
    }
    hits_taken_ = hits;
}

void Link::push(Waiting&& waiting) {
    if (!overflow_.empty() || !try_push(waiting)) {
        overflow_.push_back(std::move(waiting));
    }
}

bool Link::try_push(Waiting& waiting) {
    if (producer_->room() == 0) {
        return false;
    }
    if (waiting.file) {
        const shm::ResultFile message{.token = waiting.completion.result_slot,
                                      .result_bytes = waiting.completion.result_bytes};
        const int fd = waiting.file.get();
        if (const auto sent = shm::send_message(socket_.get(), message, {&fd, 1}); !sent) {
            return false;  // full: later; broken: EOF ends the link
        }
        waiting.file.reset();
    }
    if (producer_->push(waiting.completion) != shm::RingResult::ok) {
        return false;
    }
    unrung_ = true;
    return true;
}

void Link::ring() {
    if (unrung_) {
        unrung_ = false;
        bell_->ring_if_due();
    }
}

bool Link::flush() {
    while (!overflow_.empty() && try_push(overflow_.front())) {
        overflow_.pop_front();
    }
    return !overflow_.empty();
}

}  // namespace sonogate::broker
