#include "broker/result_cache.hpp"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sonogate::broker {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;

// While one lives, readers see that its entry is being changed.
class Change {
  public:
    explicit Change(shm::CacheEntry& entry) noexcept : entry_(entry) {
        entry_.sequence.store(entry_.sequence.load(relaxed) + 1, relaxed);
        // release pairs with the readers' acquire fence: who sees anything that is written from now
        // on, the blocks that this entry gave up included, sees the odd value too.
        std::atomic_thread_fence(std::memory_order_release);
    }
    ~Change() {
        // release pairs with the readers' acquire of it: they see the entry whole.
        entry_.sequence.store(entry_.sequence.load(relaxed) + 1, std::memory_order_release);
    }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

  private:
    shm::CacheEntry& entry_;
};

std::uint32_t blocks_for(std::size_t bytes) noexcept {
    return static_cast<std::uint32_t>((bytes + shm::cache_block_payload_bytes - 1) /
                                      shm::cache_block_payload_bytes);
}

void fill(shm::CacheBlock& block, Bytes bytes) noexcept {
    for (std::size_t i = 0; !bytes.empty(); ++i) {
        std::uint64_t word = 0;
        const std::size_t size = std::min(sizeof(word), bytes.size());
        std::memcpy(&word, bytes.data(), size);
        block.words[i].store(word, relaxed);
        bytes = bytes.subspan(size);
    }
}

}  // namespace

Result<void> ResultCache::resize(std::uint64_t bytes) {
    if (bytes == asked_bytes_) {
        return {};
    }
    asked_bytes_ = bytes;
    segment_ = {};
    shape_ = {};
    recency_.clear();
    kept_.clear();
    freed_.clear();
    untouched_block_ = 0;
    const shm::CacheShape shape = shm::CacheShape::of(bytes);
    if (shape.entries == 0) {
        return {};
    }
    auto segment = shm::OwnedSegment::create("sonogate-cache", shape.bytes());
    const bool has_key = hash_key_[0] != 0 ||
                         ::getrandom(hash_key_.data(), sizeof(hash_key_), 0) == sizeof(hash_key_);
    if (!segment || !has_key) {
        asked_bytes_ = 0;
        return segment ? system_failure(errno) : segment.failure();
    }
    segment_ = std::move(*segment);
    shape_ = shape;
    return {};
}

std::uint64_t ResultCache::most_result_bytes() const noexcept {
    return std::min<std::uint64_t>(
        shm::max_cached_result_bytes,
        std::uint64_t{shape_.blocks / 8} * shm::cache_block_payload_bytes);
}

shm::CacheEntry& ResultCache::entry(std::uint32_t number) const noexcept {
    return segment_.as<shm::CacheEntry>()[number];
}

shm::CacheBlock& ResultCache::block(std::uint32_t number) const noexcept {
    auto* const blocks = segment_.data() + std::uint64_t{shape_.entries} * sizeof(shm::CacheEntry);
    return reinterpret_cast<shm::CacheBlock*>(blocks)[number];
}

std::uint32_t ResultCache::free_blocks() const noexcept {
    return static_cast<std::uint32_t>(freed_.size()) + shape_.blocks - untouched_block_;
}

std::uint64_t ResultCache::used_bytes() const noexcept {
    return std::uint64_t{shape_.blocks - free_blocks()} * sizeof(shm::CacheBlock) +
           kept_.size() * sizeof(shm::CacheEntry);
}

// The way of the key's bucket that has the key, else an empty one, else the one used longest ago.
std::uint32_t ResultCache::choose_entry(const shm::CacheKey& key) const {
    const std::uint32_t first = shm::first_way_of(key, shape_);
    std::uint32_t best = first;
    std::uint64_t best_used = UINT64_MAX;
    for (std::uint32_t number = first; number < first + shm::cache_ways; ++number) {
        const auto kept = kept_.find(number);
        const std::uint64_t used = kept == kept_.end() ? 0 : kept->second.used;
        if (kept != kept_.end() && entry(number).key[0].load(relaxed) == key[0] &&
            entry(number).key[1].load(relaxed) == key[1]) {
            return number;
        }
        if (used < best_used) {
            best = number;
            best_used = used;
        }
    }
    return best;
}

void ResultCache::drop(std::uint32_t number) {
    const auto found = kept_.find(number);
    if (found == kept_.end()) {
        return;
    }
    const Kept kept = found->second;
    {
        const Change change(entry(number));
        entry(number).result_bytes.store(0, relaxed);
        entry(number).key[0].store(0, relaxed);
        entry(number).key[1].store(0, relaxed);
    }
    std::uint32_t at = kept.first_block;
    for (std::uint32_t i = 0; i < kept.blocks; ++i) {
        freed_.push_back(at);
        at = static_cast<std::uint32_t>(block(at).next.load(relaxed));
    }
    recency_.erase(kept.recency);
    kept_.erase(found);
}

// The first block of the chain; there are enough.
std::uint32_t ResultCache::write_blocks(Bytes result) {
    std::uint32_t first = 0;
    shm::CacheBlock* previous = nullptr;
    while (!result.empty()) {
        std::uint32_t number = untouched_block_;
        if (freed_.empty()) {
            ++untouched_block_;
        } else {
            number = freed_.back();
            freed_.pop_back();
        }
        const std::size_t bytes =
            std::min<std::size_t>(result.size(), shm::cache_block_payload_bytes);
        fill(block(number), result.first(bytes));
        result = result.subspan(bytes);
        if (previous == nullptr) {
            first = number;
        } else {
            previous->next.store(number, relaxed);
        }
        previous = &block(number);
    }
    return first;
}

void ResultCache::store(const shm::CacheKey& key, Bytes result, const shm::AudioFacts& audio,
                        std::uint64_t expires_ns) {
    if (!is_on() || result.empty() || result.size() > most_result_bytes()) {
        return;
    }
    const std::uint32_t number = choose_entry(key);
    if (kept_.contains(number)) {
        const bool same = entry(number).key[0].load(relaxed) == key[0];
        evicted_ += same ? 0U : 1U;
        drop(number);
    }
    const std::uint32_t wanted = blocks_for(result.size());
    while (free_blocks() < wanted) {
        ++evicted_;
        drop(recency_.front());
    }
    const std::uint32_t first_block = write_blocks(result);
    {
        const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(audio);
        shm::CacheEntry& to = entry(number);
        const Change change(to);
        to.key[0].store(key[0], relaxed);
        to.key[1].store(key[1], relaxed);
        to.expires_ns.store(expires_ns, relaxed);
        to.first_block.store(first_block, relaxed);
        to.result_bytes.store(static_cast<std::uint32_t>(result.size()), relaxed);
        to.audio[0].store(words[0], relaxed);
        to.audio[1].store(words[1], relaxed);
    }
    recency_.push_back(number);
    kept_[number] = {std::prev(recency_.end()), ++clock_, first_block, wanted};
    ++stored_;
}

std::vector<std::byte> ResultCache::find(const shm::CacheKey& key, std::uint64_t now_ns,
                                         shm::AudioFacts& audio) {
    const shm::CacheReader reader(segment_.data(), shape_);
    const auto found = reader.find(key, now_ns);
    if (!found) {
        return {};
    }
    std::vector<std::byte> out(found->result_bytes);
    if (!reader.copy(*found, out)) {
        return {};
    }
    audio = found->audio;
    ++found_;
    touch(found->entry);
    return out;
}

void ResultCache::touch(std::uint32_t number) {
    const auto found = kept_.find(number);
    if (found != kept_.end()) {
        found->second.used = ++clock_;
        recency_.splice(recency_.end(), recency_, found->second.recency);
    }
}

}  // namespace sonogate::broker
