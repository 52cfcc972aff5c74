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
using broker::Turn;

namespace {

Turn turn(std::uint64_t number, std::uint64_t cost_us, std::uint64_t identity = 1) {
    return {.number = number, .identity = identity, .cost_us = cost_us};
}

void lanes_are_apart(void**) {
    Scheduler scheduler;
    scheduler.push(Lane::short_jobs, turn(1, 10));
    scheduler.push(Lane::long_jobs, turn(3, 10));
    assert_int_equal(*scheduler.front(Lane::short_jobs), 1);
    assert_int_equal(*scheduler.front(Lane::long_jobs), 3);
    assert_false(scheduler.front(Lane::librarian).has_value());
    scheduler.pop(Lane::short_jobs);
    assert_int_equal(scheduler.depth(Lane::short_jobs), 0);
    assert_int_equal(scheduler.depth(), 1);
}

void the_queue_is_bounded_over_all_lanes(void**) {
    Scheduler scheduler;
    scheduler.set_limits(3, 1);
    scheduler.push(Lane::short_jobs, turn(1, 0));
    scheduler.push(Lane::long_jobs, turn(2, 0));
    assert_true(scheduler.has_room(Lane::short_jobs, turn(9, 0)));
    scheduler.push(Lane::librarian, turn(3, 0));
    assert_false(scheduler.has_room(Lane::short_jobs, turn(9, 0)));
    scheduler.erase(Lane::long_jobs, turn(2, 0));
    assert_true(scheduler.has_room(Lane::short_jobs, turn(9, 0)));
    scheduler.erase(Lane::long_jobs, turn(2, 0));  // twice is nothing
    assert_int_equal(scheduler.depth(), 2);
}

void in_a_full_queue_the_last_of_the_largest_gives_way(void**) {
    Scheduler scheduler;
    scheduler.set_limits(5, 1);
    for (std::uint64_t i = 1; i <= 4; ++i) {
        scheduler.push(Lane::long_jobs, turn(i, 10, 77));
    }
    assert_false(scheduler.who_gives_way(Lane::short_jobs, turn(9, 10, 5)).has_value());
    scheduler.push(Lane::short_jobs, turn(5, 10, 88));
    assert_int_equal(*scheduler.who_gives_way(Lane::short_jobs, turn(9, 10, 5)), 4);
    // Not for who has as many, nor where that would only change places.
    assert_false(scheduler.has_room(Lane::long_jobs, turn(9, 10, 77)));
    scheduler.erase(Lane::long_jobs, turn(4, 10, 77));
    scheduler.erase(Lane::long_jobs, turn(3, 10, 77));
    scheduler.push(Lane::short_jobs, turn(6, 10, 88));
    scheduler.push(Lane::short_jobs, turn(7, 10, 99));
    assert_true(scheduler.has_room(Lane::short_jobs, turn(9, 10, 5)));
    assert_false(scheduler.has_room(Lane::short_jobs, turn(9, 10, 99)));
}

void the_wait_is_what_goes_before_divided_by_who_serves(void**) {
    Scheduler scheduler;
    scheduler.set_limits(100, 4);
    for (std::uint64_t i = 0; i < 8; ++i) {
        scheduler.push(Lane::long_jobs, turn(i, 1'000'000));
    }
    assert_int_equal(scheduler.expected_wait_us(Lane::long_jobs), 2'000'000);
    assert_int_equal(scheduler.expected_wait_us(Lane::long_jobs, turn(9, 1'000'000)), 2'000'000);
    // Somebody else's job waits for its own length of the other's, not for all of them.
    const auto stranger = scheduler.expected_wait_us(Lane::long_jobs, turn(9, 1'000'000, 2));
    assert_true(stranger >= 250'000 && stranger < 260'000);
    assert_int_equal(scheduler.expected_wait_us(Lane::short_jobs, turn(9, 1'000'000)), 0);
    assert_int_equal(Scheduler::retry_after_s(2'000'000), 3);
    assert_int_equal(Scheduler::retry_after_s(0), 1);
    assert_int_equal(Scheduler::retry_after_s(3'600'000'000), 60);
}

void an_estimate_follows_what_was_seen(void**) {
    broker::Estimate estimate;
    const auto unseen = estimate.of(shm::Endpoint::analyze, 1U << 20U);
    assert_true(unseen > 1000 && unseen < broker::Estimate::long_job_us);
    for (int i = 0; i < 50; ++i) {
        estimate.learn(shm::Endpoint::analyze, 1U << 20U, {}, 0, 80'000);
    }
    assert_true(estimate.of(shm::Endpoint::analyze, (1U << 20U) + 5) > 70'000);
    assert_int_equal(estimate.of(shm::Endpoint::identify, 1U << 20U), unseen);
    estimate.learn(shm::Endpoint::analyze, shm::max_upload_bytes, {}, 0, UINT32_MAX);
    assert_true(estimate.of(shm::Endpoint::analyze, shm::max_upload_bytes) > 1'000'000);
    estimate.learn(shm::Endpoint::analyze, 0, {}, 0, 0);
    assert_int_equal(estimate.of(shm::Endpoint::analyze, 0), 1);
}

void what_makes_a_job_long_follows_format_and_endpoint(void**) {
    using shm::AudioFormat;
    using shm::Endpoint;
    broker::Estimate estimate;
    const shm::AudioFacts mp3{
        .format = AudioFormat::mp3, .channels = 2, .sample_rate_hz = 44100, .duration_ms = 60'000};
    const auto before = estimate.of(Endpoint::analyze, mp3);
    assert_true(before > broker::Estimate::long_job_us);
    for (int i = 0; i < 50; ++i) {  // a minute in 10 ms
        estimate.learn(Endpoint::analyze, 1U << 20U, mp3, 60ULL * 44100, 10'000);
    }
    const auto after = estimate.of(Endpoint::analyze, mp3);
    assert_true(after > 9'000 && after < 11'000);
    assert_int_equal(estimate.of(Endpoint::identify, mp3), before);
    const auto told = estimate.short_job(Endpoint::analyze);
    const auto flac = static_cast<std::size_t>(AudioFormat::flac);
    const auto at = static_cast<std::size_t>(AudioFormat::mp3);
    assert_true(told.most_ksamples[at] > 2 * told.most_ksamples[flac]);
    assert_int_equal(told.cpu_us, broker::Estimate::patience_us);
    // Whoever has a few transformed a hundred times as densely makes nobody's clip long.
    for (int i = 0; i < 10; ++i) {
        estimate.learn(Endpoint::analyze, 1U << 20U, mp3, 60ULL * 44100, 1'000'000);
        estimate.learn(Endpoint::analyze, 1U << 20U, mp3, 60ULL * 44100, 10'000);
    }
    assert_true(estimate.of(Endpoint::analyze, mp3) < 12'000);
    // A clip says nothing about samples, and figures that are none do not overflow.
    estimate.learn(Endpoint::analyze, 1000, mp3, 100, 50'000);
    assert_true(estimate.of(Endpoint::analyze, mp3) < 12'000);
    const shm::AudioFacts absurd{.format = static_cast<AudioFormat>(999),
                                 .channels = UINT16_MAX,
                                 .sample_rate_hz = UINT32_MAX,
                                 .duration_ms = UINT64_MAX};
    estimate.learn(Endpoint::analyze, 1000, absurd, UINT64_MAX, UINT64_MAX);
    assert_true(estimate.short_ksamples(Endpoint::analyze, absurd.format) >= 1);
}

// What ten lies make of it is a worker's patience for each long job that it lets in, and is made up
// for by honest ones.
void a_lie_makes_long_jobs_short_for_a_while_and_for_little(void**) {
    const shm::AudioFacts mp3{.format = shm::AudioFormat::mp3,
                              .channels = 2,
                              .sample_rate_hz = 44100,
                              .duration_ms = 60'000};
    broker::Estimate estimate;
    const auto learn = [&](std::uint64_t took_us, int times) {
        for (int i = 0; i < times; ++i) {
            estimate.learn(shm::Endpoint::analyze, 1U << 20U, mp3, 60ULL * 44100, took_us);
        }
    };
    learn(10'000, 20);
    learn(1, 10);
    assert_true(estimate.of(shm::Endpoint::analyze, mp3) < 1'000);
    assert_int_equal(estimate.short_job(shm::Endpoint::analyze).cpu_us,
                     broker::Estimate::patience_us);
    learn(10'000, 300);
    assert_true(estimate.of(shm::Endpoint::analyze, mp3) > 9'000);
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
        cmocka_unit_test(lanes_are_apart),
        cmocka_unit_test(the_queue_is_bounded_over_all_lanes),
        cmocka_unit_test(in_a_full_queue_the_last_of_the_largest_gives_way),
        cmocka_unit_test(the_wait_is_what_goes_before_divided_by_who_serves),
        cmocka_unit_test(an_estimate_follows_what_was_seen),
        cmocka_unit_test(a_lie_makes_long_jobs_short_for_a_while_and_for_little),
        cmocka_unit_test(what_makes_a_job_long_follows_format_and_endpoint),
        cmocka_unit_test(a_result_slot_is_given_back_once_and_by_who_has_it),
        cmocka_unit_test(small_results_spill_into_large_slots_and_then_nowhere),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
