#include "shm/cache.hpp"

#include <algorithm>
#include <cstring>

namespace sonogate::shm {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;

AudioFacts facts_of(const CacheEntry& entry) noexcept {
    const std::array<std::uint64_t, 2> words{entry.audio[0].load(relaxed),
                                             entry.audio[1].load(relaxed)};
    auto out = std::bit_cast<AudioFacts>(words);
    if (out.format >= AudioFormat::count_) {
        out = {};
    }
    return out;
}

void copy_words(const CacheBlock& block, std::span<std::byte> out) noexcept {
    std::size_t i = 0;
    for (; (i + 1) * sizeof(std::uint64_t) <= out.size(); ++i) {
        const std::uint64_t word = block.words[i].load(relaxed);
        std::memcpy(out.data() + i * sizeof(word), &word, sizeof(word));
    }
    if (const std::size_t rest = out.size() % sizeof(std::uint64_t); rest != 0) {
        const std::uint64_t word = block.words[i].load(relaxed);
        std::memcpy(out.data() + i * sizeof(word), &word, rest);
    }
}

}  // namespace

std::optional<CacheReader::Found> CacheReader::find(const CacheKey& key,
                                                    std::uint64_t now_ns) const noexcept {
    if (shape_.entries == 0) {
        return std::nullopt;
    }
    const std::uint32_t first = first_way_of(key, shape_);
    for (std::uint32_t way = 0; way < cache_ways; ++way) {
        if (auto found = read_entry(first + way, key, now_ns)) {
            return found;
        }
    }
    return std::nullopt;
}

std::optional<CacheReader::Found> CacheReader::read_entry(std::uint32_t number, const CacheKey& key,
                                                          std::uint64_t now_ns) const noexcept {
    const CacheEntry& entry = entries_[number];
    if (entry.key[0].load(relaxed) != key[0]) {
        return std::nullopt;  // most ways; what is read below is read under the sequence
    }
    Found out;
    out.entry = number;
    // acquire pairs with the writer's release of the even value: the entry is whole.
    out.sequence = entry.sequence.load(std::memory_order_acquire);
    const CacheKey there{entry.key[0].load(relaxed), entry.key[1].load(relaxed)};
    const std::uint64_t expires_ns = entry.expires_ns.load(relaxed);
    out.first_block = entry.first_block.load(relaxed);
    out.result_bytes = entry.result_bytes.load(relaxed);
    out.audio = facts_of(entry);
    // acquire pairs with the release fence after the writer's odd value: what it changed since, and
    // we read, it had announced.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (entry.sequence.load(relaxed) != out.sequence || (out.sequence & 1U) != 0 || there != key ||
        expires_ns <= now_ns || out.result_bytes == 0 ||
        out.result_bytes > max_cached_result_bytes || out.first_block >= shape_.blocks) {
        return std::nullopt;
    }
    return out;
}

bool CacheReader::copy(const Found& found, std::span<std::byte> out) const noexcept {
    std::uint64_t at = found.first_block;
    while (!out.empty() && at < shape_.blocks) {
        const CacheBlock& block = blocks_[at];
        const std::size_t bytes = std::min<std::size_t>(out.size(), cache_block_payload_bytes);
        copy_words(block, out.first(bytes));
        out = out.subspan(bytes);
        at = block.next.load(relaxed);
    }
    // acquire as in read_entry().
    std::atomic_thread_fence(std::memory_order_acquire);
    return out.empty() && entries_[found.entry].sequence.load(relaxed) == found.sequence;
}

}  // namespace sonogate::shm
