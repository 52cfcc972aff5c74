// A reader of the cache believes nothing that it reads: see also
// tests/broker/result_cache_test.cpp, where the writer is.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

#include "shm/cache.hpp"

using namespace sonogate;
using namespace sonogate::shm;

namespace {

constexpr auto relaxed = std::memory_order_relaxed;

// A segment in memory of just its size, so that a sanitizer sees every step beyond it.
struct Segment {
    explicit Segment(std::uint64_t bytes)
        : shape(CacheShape::of(bytes)),
          memory(shape.bytes() / sizeof(CacheBlock) + 1),
          data(reinterpret_cast<std::byte*>(memory.data())) {}

    CacheEntry& entry(std::uint32_t i) { return reinterpret_cast<CacheEntry*>(data)[i]; }
    CacheBlock& block(std::uint32_t i) {
        return reinterpret_cast<CacheBlock*>(data + shape.entries * sizeof(CacheEntry))[i];
    }
    CacheReader reader() const { return {data, shape}; }

    CacheShape shape;
    std::vector<CacheBlock> memory;
    std::byte* data;
};

void a_shape_fits_its_size(void**) {
    for (const std::uint64_t bytes : {0ULL, 1ULL, 4607ULL, 4608ULL, 1ULL << 20U, 3ULL << 20U,
                                      (1ULL << 28U) + 12345, 1ULL << 40U}) {
        const CacheShape shape = CacheShape::of(bytes);
        assert_true(shape.bytes() <= bytes);
        if (shape.entries != 0) {
            assert_true((shape.entries & (shape.entries - 1)) == 0);
            assert_true(shape.entries + cache_ways >= 2 * shape.blocks);
            // Little is left over.
            assert_true(bytes - shape.bytes() <= bytes / 16 + 2 * sizeof(CacheBlock));
        }
    }
}

void an_empty_segment_has_nothing(void**) {
    Segment segment(1U << 20U);
    assert_false(segment.reader().find({0, 0}, 0).has_value());
    assert_false(segment.reader().find({1, 2}, 0).has_value());
    assert_false(CacheReader().find({1, 2}, 0).has_value());
}

void each_number_that_lies_is_a_miss(void**) {
    Segment segment(1U << 20U);
    const CacheKey key{7, 9};
    CacheEntry& entry = segment.entry(first_way_of(key, segment.shape) + 3);
    const auto honest = [&] {
        entry.sequence.store(2, relaxed);
        entry.key[0].store(key[0], relaxed);
        entry.key[1].store(key[1], relaxed);
        entry.expires_ns.store(100, relaxed);
        entry.first_block.store(1, relaxed);
        entry.result_bytes.store(5000, relaxed);
        segment.block(1).next.store(5, relaxed);
        segment.block(5).next.store(0, relaxed);
    };
    const auto copies = [&] {
        const auto found = segment.reader().find(key, 99);
        std::vector<std::byte> out(found ? found->result_bytes : 0);
        return found && segment.reader().copy(*found, out);
    };
    honest();
    assert_true(copies());
    assert_false(segment.reader().find(key, 100).has_value());
    entry.sequence.store(3, relaxed);
    assert_false(copies());
    honest();
    entry.key[1].store(8, relaxed);
    assert_false(copies());
    honest();
    for (const std::uint32_t bytes : {0U, max_cached_result_bytes + 1, UINT32_MAX}) {
        entry.result_bytes.store(bytes, relaxed);
        assert_false(copies());
    }
    honest();
    for (const std::uint32_t block : {segment.shape.blocks, UINT32_MAX}) {
        entry.first_block.store(block, relaxed);
        assert_false(copies());
    }
    honest();
    for (const std::uint64_t next : {std::uint64_t{segment.shape.blocks}, UINT64_MAX}) {
        segment.block(1).next.store(next, relaxed);
        assert_false(copies());
    }
    honest();
    segment.block(1).next.store(1, relaxed);  // a ring: it ends with the bytes that were promised
    assert_true(copies());
    honest();
    const auto found = segment.reader().find(key, 99);
    entry.sequence.store(4, relaxed);
    std::vector<std::byte> out(found->result_bytes);
    assert_false(segment.reader().copy(*found, out));
}

// Whatever bytes there are, and however they change meanwhile: no step outside, no endless walk.
void noise_that_changes_is_survived(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    Segment segment(1U << 20U);
    std::atomic<bool> stop = false;
    auto* const words = reinterpret_cast<Counter*>(segment.data);
    const std::size_t count = segment.shape.bytes() / sizeof(Counter);
    std::thread liar([&] {
        std::mt19937_64 random(seed);
        while (!stop.load(relaxed)) {
            // Small numbers, so that many pass the first checks.
            const std::uint64_t value = random();
            words[random() % count].store(value & (value % 3 == 0 ? 0xffULL : UINT64_MAX), relaxed);
        }
    });
    std::mt19937_64 random(seed + 1);
    std::size_t found_count = 0;
    for (int i = 0; i < 200'000; ++i) {
        CacheEntry& entry = segment.entry(static_cast<std::uint32_t>(random() % 64));
        const CacheKey key{entry.key[0].load(relaxed), entry.key[1].load(relaxed)};
        if (const auto found = segment.reader().find(key, 1)) {
            std::vector<std::byte> out(found->result_bytes);
            (void)segment.reader().copy(*found, out);
            assert_true(found->audio.format < AudioFormat::count_);
            ++found_count;
        }
        if (i % 64 == 0) {
            entry.sequence.store(2, relaxed);
            entry.result_bytes.store(static_cast<std::uint32_t>(random() % 9000), relaxed);
            entry.first_block.store(static_cast<std::uint32_t>(random() % 500), relaxed);
            entry.expires_ns.store(UINT64_MAX, relaxed);
        }
    }
    stop.store(true);
    liar.join();
    std::printf("%zu found\n", found_count);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_shape_fits_its_size),
        cmocka_unit_test(an_empty_segment_has_nothing),
        cmocka_unit_test(each_number_that_lies_is_a_miss),
        cmocka_unit_test(noise_that_changes_is_survived),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
