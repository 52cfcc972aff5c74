// The broker's end of one nginx worker's link: its socket, its two rings, its slabs, its result
// slots.
//
// For: moving checked submissions in and answers out. Not for: what a submission means (desk.hpp),
// nor for other links: whatever this peer does, it ends this link only. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "broker/poller.hpp"
#include "broker/result_cache.hpp"
#include "broker/results.hpp"
#include "broker/slabs.hpp"
#include "shm/doorbell.hpp"
#include "shm/layout.hpp"
#include "shm/message.hpp"
#include "shm/ring.hpp"
#include "shm/segment.hpp"

namespace sonogate::broker {

class Link {
  public:
    Link(std::uint64_t id, UniqueFd socket, std::uint64_t now_ns)
        : id_(id), socket_(std::move(socket)), connected_ns_(now_ns) {}
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    std::uint64_t id() const noexcept { return id_; }  // the broker's own, never used again
    int socket() const noexcept { return socket_.get(); }
    bool is_open() const noexcept { return static_cast<bool>(up_); }
    std::uint64_t epoch() const noexcept { return epoch_; }
    std::uint64_t connected_ns() const noexcept { return connected_ns_; }

    enum class Event : std::uint8_t { nothing, taken, hello, closed, lie };

    // Takes one packet. `taken`: a bell or a slab, dealt with. `hello`: answer it with welcome() or
    // refuse().
    Event receive(shm::Hello& hello, UniqueFd& link_up);

    // Makes this link's segments and sends them, with the cache's where there is one. Errors:
    // malformed_request where the peer's segment is none, internal with errno.
    Result<void> welcome(UniqueFd link_up, std::uint64_t epoch, const ResultCache& cache);
    void refuse(Errc why);

    // The oldest submission, copied. `lie`: end the link.
    shm::RingResult next(shm::Submission& out) { return consumer_->pop(out); }

    // The slab of that number; the descriptor may still wait in the socket. Null: no such slab.
    std::shared_ptr<Slab> slab(std::uint32_t number);

    // Sends an answer; `body` is copied into a result slot, or into a sealed memfd where none fits.
    // Where memory is short the job fails.
    void answer(const shm::Completion& answered, Bytes body);
    // Sends an answer whose result is a sealed memfd already.
    void answer_file(const shm::Completion& answered, UniqueFd file);

    // What the ring had no room for, or the socket; true where something still waits.
    bool flush();
    // Wakes the peer for what was pushed since the last call, and for nothing else: two ends that
    // ring whenever the other sleeps keep each other awake for ever.
    void ring();

    bool release_result(std::uint32_t slot, std::uint32_t generation) {
        return results_.release(slot, generation);
    }

    void arm() { sleeper_->arm(); }
    void disarm() { sleeper_->disarm(); }
    bool has_submissions() const { return is_open() && !consumer_->empty(); }

    shm::LinkDown& down() noexcept { return *down_.as<shm::LinkDown>(); }
    const shm::LinkUp& up() const noexcept {
        return *reinterpret_cast<const shm::LinkUp*>(up_.data());
    }
    const ResultSlots& results() const noexcept { return results_; }

    // Tells the cache what its reader hit since the last call.
    void take_hits(ResultCache& cache);

    Poller::Watch watch = 0;  // the broker's

  private:
    struct Waiting {
        shm::Completion completion;
        UniqueFd file;  // sent before the completion
    };

    void push(Waiting&& waiting);
    bool try_push(Waiting& waiting);
    bool take_slab(shm::Message& message);

    std::uint64_t id_;
    UniqueFd socket_;
    std::uint64_t connected_ns_;
    std::uint64_t epoch_ = 0;
    shm::Mapping up_;
    shm::OwnedSegment down_;
    shm::OwnedSegment result_segment_;
    std::optional<shm::Consumer<shm::Submission, shm::link_ring_entries>> consumer_;
    std::optional<shm::Producer<shm::Completion, shm::link_ring_entries>> producer_;
    std::optional<shm::Sleeper> sleeper_;
    std::optional<shm::Bell> bell_;
    SlabTable slabs_;
    ResultSlots results_;
    std::deque<Waiting> overflow_;
    bool unrung_ = false;  // something was pushed since the last ring()
    std::uint64_t hits_taken_ = 0;
    std::uint32_t next_token_ = 1;
};

}  // namespace sonogate::broker
