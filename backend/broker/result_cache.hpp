// The result cache: which results are kept, and which have to go.
//
// For: the broker, its one writer. Least recently used goes first; nginx's workers tell what they
// hit by touch(). Not for: reading (shm/cache.hpp), nor for what may be kept (jobs.hpp). The
// bookkeeping is private memory, and grows with what is stored. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "shm/cache.hpp"
#include "shm/segment.hpp"

namespace sonogate::broker {

class ResultCache {
  public:
    // A cache of at most `bytes`, 0 = none, in place of the present one, whose results are
    // forgotten; whoever has the old segment mapped may read on in it. Nothing happens where the
    // size is the same. Errors: internal with errno; there is no cache then.
    Result<void> resize(std::uint64_t bytes);

    bool is_on() const noexcept { return shape_.entries != 0; }
    int fd() const noexcept { return segment_.fd(); }
    std::uint64_t segment_bytes() const noexcept { return shape_.bytes(); }
    // Random, made with the first cache: keys of one daemon mean nothing to the next.
    const std::array<std::uint64_t, 4>& hash_key() const noexcept { return hash_key_; }

    // The largest result that is kept: an eighth of the cache, 1 MiB at the most.
    std::uint64_t most_result_bytes() const noexcept;

    // Keeps a result, in place of one with that key; others go to make room. Larger ones than
    // most_result_bytes() and empty ones are not kept.
    void store(const shm::CacheKey& key, Bytes result, const shm::AudioFacts& audio,
               std::uint64_t expires_ns);

    // A result that is kept, copied; empty where there is none. It counts as used.
    std::vector<std::byte> find(const shm::CacheKey& key, std::uint64_t now_ns,
                                shm::AudioFacts& audio);

    // A reader hit that entry. Numbers out of range, and of entries that are empty by now, are
    // nothing to do.
    void touch(std::uint32_t entry);

    std::size_t results() const noexcept { return kept_.size(); }
    std::uint64_t limit_bytes() const noexcept { return shape_.bytes(); }
    std::uint64_t used_bytes() const noexcept;
    std::uint64_t stored() const noexcept { return stored_; }
    std::uint64_t evicted() const noexcept { return evicted_; }  // to make room
    std::uint64_t found() const noexcept { return found_; }      // by find()

  private:
    struct Kept {
        std::list<std::uint32_t>::iterator recency;
        std::uint64_t used = 0;  // a clock that ticks with every use
        std::uint32_t first_block = 0;
        std::uint32_t blocks = 0;
    };

    shm::CacheEntry& entry(std::uint32_t number) const noexcept;
    shm::CacheBlock& block(std::uint32_t number) const noexcept;
    std::uint32_t choose_entry(const shm::CacheKey& key) const;
    std::uint32_t free_blocks() const noexcept;
    std::uint32_t write_blocks(Bytes result);
    void drop(std::uint32_t entry);

    std::array<std::uint64_t, 4> hash_key_{};
    std::uint64_t asked_bytes_ = 0;
    shm::OwnedSegment segment_;
    shm::CacheShape shape_;
    std::list<std::uint32_t> recency_;  // entries; the front is to go first
    std::unordered_map<std::uint32_t, Kept> kept_;
    std::vector<std::uint32_t> freed_;   // blocks that were used before
    std::uint32_t untouched_block_ = 0;  // from here on none was ever used
    std::uint64_t clock_ = 0;
    std::uint64_t stored_ = 0;
    std::uint64_t evicted_ = 0;
    std::uint64_t found_ = 0;
};

}  // namespace sonogate::broker
