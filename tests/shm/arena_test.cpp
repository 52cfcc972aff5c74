#include "shm/arena.hpp"

#include <cstdio>
#include <map>
#include <random>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate::shm;

namespace {

void the_lowest_gap_is_used_again(void**) {
    Arena arena(1024);
    const auto a = arena.allocate(100);
    const auto b = arena.allocate(200);
    const auto c = arena.allocate(64);
    assert_int_equal(*a, 0);
    assert_int_equal(*b, 128);
    assert_int_equal(*c, 384);
    arena.release(*b);
    assert_int_equal(*arena.allocate(300), 448);  // does not fit the gap
    assert_int_equal(*arena.allocate(256), 128);  // fits it just
}

void an_empty_block_still_has_a_place_of_its_own(void**) {
    Arena arena(128);
    assert_int_equal(*arena.allocate(0), 0);
    assert_int_equal(*arena.allocate(0), 64);
    assert_false(arena.allocate(0).has_value());
}

void what_does_not_fit_is_refused(void**) {
    Arena arena(1000);  // no multiple of the alignment: the last 40 bytes are nobody's
    assert_false(arena.allocate(1001).has_value());
    assert_false(arena.allocate(UINT64_MAX).has_value());
    assert_false(arena.allocate(1000).has_value());
    assert_true(arena.allocate(960).has_value());
    assert_false(arena.allocate(1).has_value());
}

void no_more_blocks_than_ring_entries(void**) {
    Arena arena(1U << 20U);
    for (std::size_t i = 0; i < Arena::max_blocks; ++i) {
        assert_true(arena.allocate(1).has_value());
    }
    assert_false(arena.allocate(1).has_value());
}

void random_use_never_overlaps_and_leaves_nothing(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    Arena arena(100'000);
    std::map<std::uint64_t, std::uint64_t> mine;  // offset, bytes
    for (int i = 0; i < 20'000; ++i) {
        if (random() % 2 == 0) {
            const std::uint64_t bytes = random() % 30'000;
            if (const auto at = arena.allocate(bytes)) {
                const auto above = mine.lower_bound(*at);
                assert_true(above == mine.end() || *at + bytes <= above->first);
                assert_true(above == mine.begin() ||
                            std::prev(above)->first + std::prev(above)->second <= *at);
                assert_true(*at + bytes <= 100'000);
                assert_true(mine.emplace(*at, bytes).second);
            }
        } else if (!mine.empty()) {
            const auto gone =
                std::next(mine.begin(), static_cast<std::ptrdiff_t>(random() % mine.size()));
            arena.release(gone->first);
            mine.erase(gone);
        }
        assert_int_equal(arena.blocks(), mine.size());
    }
    while (!mine.empty()) {
        arena.release(mine.begin()->first);
        mine.erase(mine.begin());
    }
    assert_int_equal(arena.used_bytes(), 0);
    assert_int_equal(*arena.allocate(99'968), 0);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_gap_is_used_again),
        cmocka_unit_test(an_empty_block_still_has_a_place_of_its_own),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(no_more_blocks_than_ring_entries),
        cmocka_unit_test(random_use_never_overlaps_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
