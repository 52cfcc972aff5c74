#include "broker/scheduler.hpp"

#include "broker/estimate.hpp"
#include "broker/results.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using broker::Lane;
using broker::Scheduler;

namespace {

void first_come_is_first_served_and_who_comes_back_keeps_its_turn(void**) {
    Scheduler scheduler;
    scheduler.push(Lane::short_jobs, 1, 10);
    scheduler.push(Lane::short_jobs, 2, 10);
    scheduler.push(Lane::long_jobs, 3, 10);
    assert_int_equal(*scheduler.front(Lane::short_jobs), 1);
    scheduler.pop(Lane::short_jobs);
    scheduler.push_front(Lane::short_jobs, 9, 10);
    assert_int_equal(*scheduler.front(Lane::short_jobs), 9);
    assert_int_equal(*scheduler.front(Lane::long_jobs), 3);
    assert_false(scheduler.front(Lane::librarian).has_value());
}

void the_queue_is_bounded_over_all_lanes(void**) {
    Scheduler scheduler;
    scheduler.set_limits(3, 1);
    scheduler.push(Lane::short_jobs, 1, 0);
    scheduler.push(Lane::long_jobs, 2, 0);
    assert_true(scheduler.has_room());
    scheduler.push(Lane::librarian, 3, 0);
    assert_false(scheduler.has_room());
    scheduler.erase(Lane::long_jobs, 2);
    assert_true(scheduler.has_room());
    scheduler.erase(Lane::long_jobs, 2);  // twice is nothing
    assert_int_equal(scheduler.depth(), 2);
}

void the_wait_is_what_stands_before_divided_by_who_serves(void**) {
    Scheduler scheduler;
    scheduler.set_limits(100, 4);
    for (std::uint64_t i = 0; i < 8; ++i) {
        scheduler.push(Lane::long_jobs, i, 1'000'000);
    }
    assert_int_equal(scheduler.expected_wait_us(Lane::long_jobs), 2'000'000);
    assert_int_equal(scheduler.expected_wait_us(Lane::short_jobs), 0);
    assert_int_equal(scheduler.retry_after_s(), 3);
    for (std::uint64_t i = 0; i < 8; ++i) {
        scheduler.erase(Lane::long_jobs, i);
    }
    assert_int_equal(scheduler.expected_wait_us(), 0);
    assert_int_equal(scheduler.retry_after_s(), 1);
}

void an_estimate_follows_what_was_seen(void**) {
    broker::Estimate estimate;
    const auto unseen = estimate.of(shm::Endpoint::analyze, 1U << 20U);
    assert_true(unseen > 1000 && unseen < broker::Estimate::long_job_us);
    for (int i = 0; i < 50; ++i) {
        estimate.learn(shm::Endpoint::analyze, 1U << 20U, 80'000);
    }
    assert_true(estimate.of(shm::Endpoint::analyze, (1U << 20U) + 5) > 70'000);
    assert_int_equal(estimate.of(shm::Endpoint::identify, 1U << 20U), unseen);
    estimate.learn(shm::Endpoint::analyze, shm::max_upload_bytes, UINT32_MAX);
    assert_true(estimate.of(shm::Endpoint::analyze, shm::max_upload_bytes) > 1'000'000);
    estimate.learn(shm::Endpoint::analyze, 0, 0);
    assert_int_equal(estimate.of(shm::Endpoint::analyze, 0), 1);
}

void a_result_slot_is_given_back_once_and_by_who_has_it(void**) {
    broker::ResultSlots slots;
    const auto lease = slots.lease(100);
    assert_true(lease && lease->slot < shm::small_result_slots);
    assert_false(slots.release(lease->slot, lease->generation + 1));
    assert_false(slots.release(shm::result_slots, 1));
    assert_true(slots.release(lease->slot, lease->generation));
    assert_false(slots.release(lease->slot, lease->generation));
    const auto again = slots.lease(100);
    assert_int_equal(again->slot, lease->slot);  // its pages are warm
    assert_int_not_equal(again->generation, lease->generation);
}

void small_results_spill_into_large_slots_and_then_nowhere(void**) {
    broker::ResultSlots slots;
    for (std::uint32_t i = 0; i < shm::small_result_slots; ++i) {
        assert_true(slots.lease(1)->slot < shm::small_result_slots);
    }
    for (std::uint32_t i = 0; i < shm::large_result_slots; ++i) {
        assert_true(slots.lease(1)->slot >= shm::small_result_slots);
    }
    assert_false(slots.lease(1).has_value());
    broker::ResultSlots fresh;
    assert_true(fresh.lease(shm::small_result_bytes + 1)->slot >= shm::small_result_slots);
    assert_false(fresh.lease(shm::large_result_bytes + 1).has_value());
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(first_come_is_first_served_and_who_comes_back_keeps_its_turn),
        cmocka_unit_test(the_queue_is_bounded_over_all_lanes),
        cmocka_unit_test(the_wait_is_what_stands_before_divided_by_who_serves),
        cmocka_unit_test(an_estimate_follows_what_was_seen),
        cmocka_unit_test(a_result_slot_is_given_back_once_and_by_who_has_it),
        cmocka_unit_test(small_results_spill_into_large_slots_and_then_nowhere),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
