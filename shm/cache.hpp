// The result cache as those read it who may not write it.
//
// For: the layout of the cache segment, and looking a result up in it: nginx workers, and the
// broker in its own. Not for: what is kept and what has to go (broker/result_cache.hpp writes), nor
// for what a key is made of (ngx_module/result_cache.cpp). Any number of readers, one writer.
//
//   entries × CacheEntry     8 ways a bucket; the key's first word chooses the bucket
//   blocks × CacheBlock      a result is a chain of blocks
//
// A sequence lock an entry (Lameter 2005; memory orders after Boehm, "Can seqlocks get along with
// programming language memory models?", MSPC 2012): the writer makes the entry's sequence odd,
// changes it and its blocks, and makes it even again; a reader copies and then looks whether the
// sequence is still the one it began with. Blocks belong to an entry, and go to another one only
// after the sequence of the first has changed. Every shared word is an atomic, so that a torn copy
// is a copy to throw away and never undefined behaviour. A writer that lies, or changes bytes under
// the reader, costs a miss: each number is copied once, checked, and used from the copy.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.hpp"
#include "shm/layout.hpp"
#include "shm/segment.hpp"

namespace sonogate::shm {

inline constexpr std::uint32_t cache_ways = 8;
inline constexpr std::uint32_t cache_block_words = 255;
inline constexpr std::uint32_t cache_block_payload_bytes = 8 * cache_block_words;
inline constexpr std::uint32_t max_cached_result_bytes = 1U << 20U;

struct alignas(cache_line_bytes) CacheEntry {
    Index sequence;      // odd while it is written
    Index result_bytes;  // 0 = empty
    Counter key[2];
    Counter expires_ns;  // now_ns() after which it is as good as empty
    Index first_block;
    Index reserved;
    Counter audio[2];  // AudioFacts, as two words
};
static_assert(sizeof(CacheEntry) == cache_line_bytes && sizeof(AudioFacts) == 2 * sizeof(Counter));

struct alignas(cache_line_bytes) CacheBlock {
    Counter next;  // of the same result; not read after the last one
    Counter words[cache_block_words];
};
static_assert(sizeof(CacheBlock) == 2048);

// How a cache of a size is divided: known to both ends from the size alone.
struct CacheShape {
    std::uint32_t blocks = 0;
    std::uint32_t entries = 0;

    // The largest that fits into `bytes`; no blocks where nothing does. At least twice as many
    // entries as blocks, so that a bucket is seldom full of live ones.
    static constexpr CacheShape of(std::uint64_t bytes) noexcept {
        const std::uint64_t blocks = bytes / (sizeof(CacheBlock) + 4 * sizeof(CacheEntry));
        if (blocks < 2 || blocks > (1ULL << 30U)) {
            return {};
        }
        return {static_cast<std::uint32_t>(blocks),
                cache_ways * std::bit_floor(static_cast<std::uint32_t>(blocks) / 2)};
    }
    constexpr std::uint64_t bytes() const noexcept {
        return std::uint64_t{entries} * sizeof(CacheEntry) +
               std::uint64_t{blocks} * sizeof(CacheBlock);
    }
};

// Whose answer depends on the upload, the parameters and the catalog, and on nothing else.
constexpr bool may_be_cached(Endpoint endpoint) noexcept {
    return endpoint == Endpoint::analyze || endpoint == Endpoint::identify ||
           endpoint == Endpoint::fingerprint || endpoint == Endpoint::monitor;
}
constexpr bool depends_on_catalog(Endpoint endpoint) noexcept {
    return endpoint == Endpoint::identify || endpoint == Endpoint::monitor;
}

// What a result is found by: a keyed hash of everything that it depends on.
using CacheKey = std::array<std::uint64_t, 2>;

constexpr std::uint32_t first_way_of(const CacheKey& key, const CacheShape& shape) noexcept {
    return static_cast<std::uint32_t>(key[0]) & (shape.entries - 1) & ~(cache_ways - 1);
}

class CacheReader {
  public:
    CacheReader() noexcept = default;

    // Over memory of at least `shape.bytes()` that the caller keeps mapped.
    CacheReader(const std::byte* data, CacheShape shape) noexcept
        : entries_(reinterpret_cast<const CacheEntry*>(data)),
          blocks_(reinterpret_cast<const CacheBlock*>(data + std::uint64_t{shape.entries} *
                                                                 sizeof(CacheEntry))),
          shape_(shape) {}

    // A result that was there a moment ago; its numbers are checked.
    struct Found {
        std::uint32_t entry = 0;
        std::uint32_t sequence = 0;
        std::uint32_t first_block = 0;
        std::uint32_t result_bytes = 0;  // 1 to max_cached_result_bytes
        AudioFacts audio;
    };
    std::optional<Found> find(const CacheKey& key, std::uint64_t now_ns) const noexcept;

    // Copies it out; `out` is result_bytes long. False where it changed meanwhile: a miss.
    bool copy(const Found& found, std::span<std::byte> out) const noexcept;

  private:
    std::optional<Found> read_entry(std::uint32_t entry, const CacheKey& key,
                                    std::uint64_t now_ns) const noexcept;

    const CacheEntry* entries_ = nullptr;
    const CacheBlock* blocks_ = nullptr;
    CacheShape shape_;
};

}  // namespace sonogate::shm
