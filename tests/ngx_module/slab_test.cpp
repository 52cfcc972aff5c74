#include "ngx_module/slab.hpp"

#include <set>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using sonogate::ngx_module::Slab;
using sonogate::ngx_module::Slabs;

constexpr std::uint64_t plenty = 1ULL << 30U;

void small_uploads_share_warm_slabs_and_large_ones_get_fresh_ones(void**) {
    Slabs slabs(plenty);
    Slab* small = *slabs.take(1);
    assert_true(small->warm());
    assert_int_equal(small->audio().size(), Slabs::classes[0]);
    assert_int_equal(small->params().size(), shm::slab_params_bytes);
    Slab* middle = *slabs.take(Slabs::classes[0] + 1);
    assert_int_equal(middle->audio().size(), Slabs::classes[1]);
    assert_false(slabs.give_back(middle));
    const std::uint64_t large_bytes = shm::warm_slab_audio_bytes + 1;
    Slab* large = *slabs.take(large_bytes);
    assert_false(large->warm());
    assert_int_equal(large->audio().size(), large_bytes);
    assert_true(slabs.give_back(large));
    assert_false(slabs.give_back(small));
}

void a_slab_used_again_has_its_number_and_another_generation(void**) {
    Slabs slabs(plenty);
    Slab* first = *slabs.take(1);
    const std::uint32_t id = first->id();
    const std::uint32_t generation = first->generation();
    assert_false(slabs.give_back(first));
    Slab* again = *slabs.take(1);
    assert_int_equal(again->id(), id);
    assert_int_not_equal(again->generation(), generation);
    Slab* other = *slabs.take(1);
    assert_int_not_equal(other->id(), id);
    (void)slabs.give_back(again);
    (void)slabs.give_back(other);
}

void free_slabs_hold_no_more_than_their_bound(void**) {
    Slabs slabs(3U << 20U);
    Slab* taken[4];
    for (Slab*& slab : taken) {
        slab = *slabs.take(Slabs::classes[1]);
        slab->touched(1U << 20U);
    }
    int closed = 0;
    for (Slab* slab : taken) {
        closed += slabs.give_back(slab) ? 1 : 0;
    }
    assert_int_equal(closed, 1);
    assert_int_equal(slabs.bytes(), 3U << 20U);
}

void memory_counts_what_was_touched(void**) {
    Slabs slabs(plenty);
    Slab* slab = *slabs.take(shm::warm_slab_audio_bytes);
    slab->touched(5'000'000);
    slab->touched(4'000'000);
    slabs.count(*slab);
    slabs.count(*slab);
    assert_int_equal(slabs.bytes(), 5'000'000);
    (void)slabs.give_back(slab);
    assert_int_equal(slabs.bytes(), 5'000'000);
}

void what_a_burst_left_is_closed_once_it_was_not_needed_for_a_while(void**) {
    Slabs slabs(plenty);
    Slab* taken[10];
    for (Slab*& slab : taken) {
        slab = *slabs.take(1);
        slab->touched(1000);
    }
    for (Slab* slab : taken) {
        (void)slabs.give_back(slab);
    }
    assert_false(slabs.idle());
    std::set<std::uint32_t> gone;
    const auto note = [&](std::uint32_t id) { assert_true(gone.insert(id).second); };
    slabs.trim(note);
    assert_true(gone.empty());  // they were needed since the last time
    Slab* in_use[5];
    for (Slab*& slab : in_use) {
        slab = *slabs.take(1);
    }
    for (Slab* slab : in_use) {
        (void)slabs.give_back(slab);
    }
    slabs.trim(note);
    assert_int_equal(gone.size(), 3);  // five were never needed, two are kept
    slabs.trim(note);
    assert_int_equal(gone.size(), 8);
    assert_true(slabs.idle());
    assert_int_equal(slabs.bytes(), 2000);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(small_uploads_share_warm_slabs_and_large_ones_get_fresh_ones),
        cmocka_unit_test(a_slab_used_again_has_its_number_and_another_generation),
        cmocka_unit_test(free_slabs_hold_no_more_than_their_bound),
        cmocka_unit_test(memory_counts_what_was_touched),
        cmocka_unit_test(what_a_burst_left_is_closed_once_it_was_not_needed_for_a_while),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
