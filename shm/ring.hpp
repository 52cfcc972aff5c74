// A bounded single-producer, single-consumer ring whose two indices live in two segments.
//
// For: fixed-size entries between two processes that do not trust each other. The producer owns the
// entries and the tail, the consumer owns the head; each only reads the other's. Not for: more than
// one producer or consumer (never between processes that may die), nor for waking the other side
// (shm/doorbell.hpp).
//
// Indices count up for ever and wrap at 2^32; entries is a power of two. A peer whose index says
// more than the ring can hold is lying: the call answers `lie`, and the caller ends the link.
//
// Misuse: two Producer objects on one ring; an entry pointer kept after the call; use of the shared
// entry, not of the copy.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "shm/layout.hpp"

namespace sonogate::shm {

enum class RingResult : std::uint8_t { ok, none, lie };  // none: full for a push, empty for a pop

template <typename Entry, std::uint32_t entries>
class Producer {
    static_assert(std::is_trivially_copyable_v<Entry> && (entries & (entries - 1)) == 0);

  public:
    // `slots` and `tail` are in this process's segment, `head` in the peer's.
    Producer(Entry* slots, Index& tail, const Index& head) noexcept
        : slots_(slots), tail_shared_(&tail), head_shared_(&head) {}

    // How many more entries fit now; 0 also where the peer lies.
    std::uint32_t room() noexcept {
        // acquire pairs with the consumer's release of head: what it took it has finished copying.
        const std::uint32_t used = tail_ - head_shared_->load(std::memory_order_acquire);
        return used > entries ? 0 : entries - used;
    }

    // The peer's head is ahead of what was pushed, or further behind than the ring is long.
    bool is_lied_to() const noexcept {
        return tail_ - head_shared_->load(std::memory_order_relaxed) > entries;
    }

    // Where the next pushed entry will stand: a place that belongs to the ring position can be
    // filled before push().
    std::uint32_t next_position() const noexcept { return tail_ & (entries - 1); }

    RingResult push(const Entry& entry) noexcept {
        // acquire pairs with the consumer's release of head, as in room().
        const std::uint32_t used = tail_ - head_shared_->load(std::memory_order_acquire);
        if (used >= entries) {
            return used == entries ? RingResult::none : RingResult::lie;
        }
        std::memcpy(static_cast<void*>(&slots_[tail_ & (entries - 1)]), &entry, sizeof(Entry));
        // release pairs with the consumer's acquire of tail: it sees the entry whole.
        tail_shared_->store(++tail_, std::memory_order_release);
        return RingResult::ok;
    }

  private:
    Entry* slots_;
    Index* tail_shared_;
    const Index* head_shared_;
    std::uint32_t tail_ = 0;  // private: what stands in our own segment is only ever written
};

template <typename Entry, std::uint32_t entries>
class Consumer {
    static_assert(std::is_trivially_copyable_v<Entry> && (entries & (entries - 1)) == 0);

  public:
    // `slots` and `tail` are in the peer's segment, `head` in this process's.
    Consumer(const Entry* slots, const Index& tail, Index& head) noexcept
        : slots_(slots), tail_shared_(&tail), head_shared_(&head) {}

    bool empty() const noexcept { return tail_shared_->load(std::memory_order_relaxed) == head_; }

    // Copies the oldest entry out; it stays the consumer's until release(), so that memory bound to
    // its ring position
    // (`position`) is not reused before it was read.
    RingResult peek(Entry& out, std::uint32_t& position) noexcept {
        // acquire pairs with the producer's release of tail: the entry is whole.
        const std::uint32_t waiting = tail_shared_->load(std::memory_order_acquire) - head_;
        if (waiting == 0 || waiting > entries) {
            return waiting == 0 ? RingResult::none : RingResult::lie;
        }
        position = head_ & (entries - 1);
        std::memcpy(static_cast<void*>(&out), static_cast<const void*>(&slots_[position]),
                    sizeof(Entry));
        // The copy is made once: the compiler may not read the shared entry again where the copy is
        // used.
        asm volatile("" ::: "memory");
        return RingResult::ok;
    }

    void release() noexcept {
        // release pairs with the producer's acquire of head: our copy is finished.
        head_shared_->store(++head_, std::memory_order_release);
    }

    RingResult pop(Entry& out) noexcept {
        std::uint32_t position = 0;
        const RingResult result = peek(out, position);
        if (result == RingResult::ok) {
            release();
        }
        return result;
    }

  private:
    const Entry* slots_;
    const Index* tail_shared_;
    Index* head_shared_;
    std::uint32_t head_ = 0;
};

}  // namespace sonogate::shm
