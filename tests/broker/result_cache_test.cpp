// What is kept, what has to go, and what a reader sees while it goes.
#include "broker/result_cache.hpp"

#include <atomic>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using sonogate::broker::ResultCache;
using sonogate::shm::CacheKey;

namespace {

constexpr std::uint64_t small_bytes = 1U << 20U;
constexpr std::uint64_t never_ns = UINT64_MAX;

// Keys as a hash makes them; number 0 is not the empty key.
CacheKey key_of(std::uint64_t number) {
    std::mt19937_64 random(number + 1);
    return {random(), random()};
}

std::string text_of(std::uint64_t number, std::size_t bytes) {
    std::string out(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) {
        out[i] = static_cast<char>('a' + (number * 31 + i * 7) % 26);
    }
    return out;
}

void store(ResultCache& cache, std::uint64_t number, std::size_t bytes,
           std::uint64_t expires_ns = never_ns) {
    const std::string text = text_of(number, bytes);
    cache.store(key_of(number), as_bytes_of(text),
                {.format = shm::AudioFormat::flac, .duration_ms = number}, expires_ns);
}

bool has(ResultCache& cache, std::uint64_t number, std::size_t bytes, std::uint64_t now_ns = 1) {
    shm::AudioFacts audio;
    const auto found = cache.find(key_of(number), now_ns, audio);
    if (found.empty()) {
        return false;
    }
    assert_true(as_text(found) == text_of(number, bytes));
    assert_int_equal(audio.duration_ms, number);
    assert_true(audio.format == shm::AudioFormat::flac);
    return true;
}

void what_was_stored_is_found_whole(void**) {
    ResultCache cache;
    assert_false(has(cache, 1, 1));
    assert_true(static_cast<bool>(cache.resize(64U << 20U)));
    std::uint64_t number = 0;
    for (const std::size_t bytes :
         {1UL, 2UL, 7UL, 8UL, 9UL, 2039UL, 2040UL, 2041UL, 4080UL, 4081UL, 100'000UL, 1UL << 20U}) {
        store(cache, ++number, bytes);
        assert_true(has(cache, number, bytes));
    }
    store(cache, 99, (1UL << 20U) + 1);
    assert_false(has(cache, 99, (1UL << 20U) + 1));
    assert_int_equal(cache.results(), number);
    assert_int_equal(cache.evicted(), 0);
}

void a_result_takes_the_place_of_the_one_before(void**) {
    ResultCache cache;
    assert_true(static_cast<bool>(cache.resize(small_bytes)));
    store(cache, 5, 9000);
    const std::uint64_t used = cache.used_bytes();
    for (int i = 0; i < 1000; ++i) {
        store(cache, 5, 9000);
    }
    assert_int_equal(cache.used_bytes(), used);
    assert_int_equal(cache.results(), 1);
    assert_int_equal(cache.evicted(), 0);
    assert_true(has(cache, 5, 9000));
}

void a_result_past_its_time_is_not_found(void**) {
    ResultCache cache;
    assert_true(static_cast<bool>(cache.resize(small_bytes)));
    store(cache, 1, 100, 1000);
    assert_true(has(cache, 1, 100, 999));
    assert_false(has(cache, 1, 100, 1000));
}

void who_was_used_longest_ago_goes_first(void**) {
    ResultCache cache;
    assert_true(static_cast<bool>(cache.resize(small_bytes)));
    constexpr std::size_t bytes = 20'000;
    std::uint64_t number = 0;
    while (cache.evicted() == 0) {
        store(cache, number++, bytes);
    }
    assert_false(has(cache, 0, bytes));
    // A reader hit number 1; 2 is the oldest now.
    const shm::CacheShape shape = shm::CacheShape::of(small_bytes);
    const std::uint32_t first = shm::first_way_of(key_of(1), shape);
    for (std::uint32_t way = 0; way < shm::cache_ways; ++way) {
        cache.touch(first + way);
    }
    cache.touch(UINT32_MAX);
    store(cache, number++, bytes);
    assert_true(has(cache, 1, bytes));
    assert_false(has(cache, 2, bytes));
    assert_true(cache.used_bytes() <= cache.limit_bytes());
}

void another_size_forgets_and_the_same_does_not(void**) {
    ResultCache cache;
    assert_true(static_cast<bool>(cache.resize(small_bytes)));
    const auto key = cache.hash_key();
    store(cache, 1, 100);
    assert_true(static_cast<bool>(cache.resize(small_bytes)));
    assert_true(has(cache, 1, 100));
    assert_true(static_cast<bool>(cache.resize(2 * small_bytes)));
    assert_false(has(cache, 1, 100));
    store(cache, 1, 100);
    assert_true(has(cache, 1, 100));
    assert_true(static_cast<bool>(cache.resize(0)));
    assert_false(cache.is_on());
    store(cache, 1, 100);
    assert_false(has(cache, 1, 100));
    assert_true(cache.hash_key() == key);
    ResultCache other;
    assert_true(static_cast<bool>(other.resize(small_bytes)));
    assert_true(other.hash_key() != key);
}

// Random sizes and keys, many times what fits: everything found is what was stored last.
void a_full_cache_keeps_its_promises(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937_64 random(seed);
    ResultCache cache;
    assert_true(static_cast<bool>(cache.resize(small_bytes)));
    std::map<std::uint64_t, std::size_t> sizes;
    std::size_t found = 0;
    for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t number = random() % 400;
        if (random() % 3 == 0) {
            found += sizes.contains(number) && has(cache, number, sizes[number]) ? 1U : 0U;
        } else {
            sizes[number] = 1 + random() % (random() % 8 == 0 ? 30'000 : 3'000);
            store(cache, number, sizes[number]);
            assert_true(has(cache, number, sizes[number]));
        }
        assert_true(cache.used_bytes() <= cache.limit_bytes());
    }
    assert_true(found > 1000);
}

// The sequence lock: what a reader copied is one result, never parts of two.
void a_reader_never_sees_a_torn_result(void**) {
    ResultCache cache;
    assert_true(static_cast<bool>(cache.resize(small_bytes)));
    const shm::CacheShape shape = shm::CacheShape::of(small_bytes);
    auto mapping = shm::map_peer_segment(cache.fd(), shape.bytes());  // as nginx maps it
    assert_true(static_cast<bool>(mapping));
    constexpr std::uint64_t keys = 12;
    std::atomic<bool> stop = false;
    std::thread writer([&] {
        // Each result is of one letter, another one each time; they evict each other all the time.
        for (std::uint64_t i = 0; i < 20'000; ++i) {
            const std::string text(30'000 + (i * 7919) % 80'000, static_cast<char>('a' + i % 26));
            cache.store(key_of(i % keys), as_bytes_of(text), {}, never_ns);
        }
        stop.store(true);
    });
    const shm::CacheReader reader(mapping->data(), shape);
    std::size_t whole = 0;
    std::size_t torn = 0;
    std::vector<std::byte> out;
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        const auto found = reader.find(key_of(i % keys), 1);
        if (!found) {
            continue;
        }
        out.resize(found->result_bytes);
        if (!reader.copy(*found, out)) {
            ++torn;
            continue;
        }
        ++whole;
        for (const std::byte letter : out) {
            assert_true(letter == out[0]);
        }
    }
    writer.join();
    std::printf("%zu whole, %zu changed meanwhile\n", whole, torn);
    assert_true(whole > 0);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stored_is_found_whole),
        cmocka_unit_test(a_result_takes_the_place_of_the_one_before),
        cmocka_unit_test(a_result_past_its_time_is_not_found),
        cmocka_unit_test(who_was_used_longest_ago_goes_first),
        cmocka_unit_test(another_size_forgets_and_the_same_does_not),
        cmocka_unit_test(a_full_cache_keeps_its_promises),
        cmocka_unit_test(a_reader_never_sees_a_torn_result),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
