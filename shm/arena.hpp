// A first-fit allocator of offsets: who uses which part of a channel's input area.
//
// For: the broker, which alone writes that area and alone frees in it. The bookkeeping is private
// memory; the child never sees it. Not for: memory itself, nor for more than one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "shm/channel_layout.hpp"

namespace sonogate::shm {

class Arena {
  public:
    // At most one block a ring entry: no more jobs are in flight on a channel.
    static constexpr std::size_t max_blocks = channel_ring_entries;
    static constexpr std::uint64_t alignment_bytes = cache_line_bytes;

    explicit Arena(std::uint64_t bytes) noexcept : bytes_(bytes) {}

    // The lowest offset where `bytes` (0 is taken as 1) fit, aligned; low offsets are pages that
    // are warm already. Nothing where memory or blocks are short.
    std::optional<std::uint64_t> allocate(std::uint64_t bytes) noexcept;

    // Gives back what allocate() returned. An offset that is not in use is a bug (assert).
    void release(std::uint64_t offset) noexcept;

    std::uint64_t used_bytes() const noexcept;
    std::size_t blocks() const noexcept { return count_; }

  private:
    struct Block {
        std::uint64_t offset = 0;
        std::uint64_t bytes = 0;
    };

    std::uint64_t bytes_;
    std::array<Block, max_blocks> blocks_{};  // in use, by offset
    std::size_t count_ = 0;
};

}  // namespace sonogate::shm
