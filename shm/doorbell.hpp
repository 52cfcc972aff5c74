// The doorbell: one byte on the link's socket, and only where the peer sleeps.
//
// For: waking a consumer that found its ring empty. Not for: data, nor for noticing death (EOF on
// the same socket is).
//
// The armed word is a counter in the consumer's segment, odd while it sleeps. The producer
// remembers the value it last rang for and rings once a value: a plain flag rang for each message
// and cost 1.42 times the CPU at 4 KiB and 16 connections.
//
//   producer                               consumer
//   push (stores tail, release)            arm (armed becomes odd)
//   full fence                             full fence
//   armed odd, and new? ring               ring empty? sleep. Else disarm, go on
//
// The two fences pair with each other: either the producer sees the word armed, or the consumer
// sees the entry.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "shm/layout.hpp"

namespace sonogate::shm {

// The consumer's side: the only writer of the word.
class Sleeper {
  public:
    explicit Sleeper(Index& armed) noexcept : shared_(&armed) {}

    // Says "I am about to sleep". Look at the ring once more afterwards, then sleep. Arming while
    // armed takes a new odd value, so that a bell rung for the old one is not the last.
    void arm() noexcept {
        value_ += (value_ & 1U) != 0 ? 2 : 1;
        shared_->store(value_, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in Bell::due()
    }

    void disarm() noexcept {
        if ((value_ & 1U) != 0) {
            shared_->store(++value_, std::memory_order_relaxed);
        }
    }

  private:
    Index* shared_;
    std::uint32_t value_ = 0;
};

// The producer's side: reads the peer's word.
class Bell {
  public:
    Bell(const Index& armed, int socket) noexcept : shared_(&armed), socket_(socket) {}

    // True once for each sleep of the peer. Call after push().
    bool due() noexcept {
        std::atomic_thread_fence(
            std::memory_order_seq_cst);  // pairs with the fence in Sleeper::arm()
        const std::uint32_t value = shared_->load(std::memory_order_relaxed);
        if ((value & 1U) == 0 || value == rung_for_) {
            return false;
        }
        rung_for_ = value;
        return true;
    }

    // Wakes the peer where it sleeps; call after one or more push(). Never blocks: a full socket
    // means that the peer has enough to wake up to, and a broken one is told by EOF.
    void ring_if_due() noexcept {
        if (due()) {
            const char byte = 0;
            (void)::send(socket_, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }

  private:
    const Index* shared_;
    int socket_;
    std::uint32_t rung_for_ = 0;
};

}  // namespace sonogate::shm
