// Fairness, proved by what it promises: random arrivals against the bounds of fair_queue.hpp.
#include "broker/fair_queue.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using broker::FairQueue;
using broker::Turn;
using shm::Priority;

namespace {

constexpr std::uint64_t hour_long_us = 4'000'000;  // an hour of audio, decoded and analysed
constexpr std::uint64_t clip_us = 2'000;           // five seconds of it

Turn turn(std::uint64_t number, std::uint64_t identity, std::uint64_t cost_us,
          Priority priority = Priority::interactive) {
    return {.number = number, .identity = identity, .cost_us = cost_us, .priority = priority};
}

std::uint64_t take(FairQueue& queue) {
    const auto number = queue.front();
    assert_true(number.has_value());
    assert_int_equal(*queue.front(), *number);
    queue.pop();
    return *number;
}

void one_identity_is_first_in_first_out(void**) {
    FairQueue queue;
    for (std::uint64_t i = 0; i < 50; ++i) {
        queue.push(turn(i, 1, 1 + i * 7919 % 30'000));
    }
    for (std::uint64_t i = 0; i < 50; ++i) {
        assert_int_equal(take(queue), i);
    }
    assert_false(queue.front().has_value());
    assert_int_equal(queue.waiting_us(), 0);
}

void who_comes_back_is_next(void**) {
    FairQueue queue;
    queue.push(turn(1, 1, 500));
    queue.push(turn(2, 1, 500));
    queue.push(turn(3, 2, 500));
    assert_int_equal(take(queue), 1);
    assert_int_equal(take(queue), 2);  // the same quantum
    assert_int_equal(take(queue), 3);
    queue.push(turn(4, 3, 500));
    queue.push_front(turn(2, 1, 500));
    assert_int_equal(take(queue), 2);
    assert_int_equal(take(queue), 4);
    assert_int_equal(queue.size(), 0);
}

void what_waits_can_be_taken_out_once(void**) {
    FairQueue queue;
    queue.push(turn(1, 1, 500));
    queue.push(turn(2, 1, 700));
    queue.push(turn(3, 2, 900));
    assert_true(queue.erase(turn(1, 1, 500)));
    assert_false(queue.erase(turn(1, 1, 500)));
    assert_false(queue.erase(turn(8, 9, 1)));
    assert_int_equal(queue.waiting_us(), 1600);
    assert_int_equal(queue.identities(), 2);
    assert_true(queue.erase(turn(2, 1, 700)));
    assert_int_equal(take(queue), 3);
}

// While two have jobs waiting all the time, what they were given differs by a quantum and one job
// of each at the most.
void shares_are_equal_whatever_the_jobs_cost(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 30; ++round) {
        FairQueue queue;
        std::map<std::uint64_t, Turn> waiting;
        std::map<std::uint64_t, std::uint64_t> given_us;
        std::map<std::uint64_t, std::uint64_t> largest_us;
        std::uint64_t number = 0;
        const auto add = [&](std::uint64_t identity) {
            // Each identity has a size of its own, from 10 us to 10 s, and varies around it.
            const auto size_us = static_cast<std::uint64_t>(10.0 * std::pow(10.0, identity % 7));
            const Turn next = turn(++number, identity, 1 + random() % size_us);
            queue.push(next);
            waiting[next.number] = next;
            largest_us[identity] = std::max(largest_us[identity], next.cost_us);
        };
        const std::uint64_t identities = 2 + random() % 12;
        for (std::uint64_t i = 0; i < identities * 3; ++i) {
            add(i % identities);
        }
        for (int i = 0; i < 3000; ++i) {
            const Turn taken = waiting.at(take(queue));
            waiting.erase(taken.number);
            given_us[taken.identity] += taken.cost_us;
            add(taken.identity);  // so that it never runs out
            queue.settle(taken, taken.cost_us);
            for (std::uint64_t a = 0; a < identities; ++a) {
                for (std::uint64_t b = 0; b < a; ++b) {
                    const auto [less, more] = std::minmax(given_us[a], given_us[b]);
                    assert_true(more - less <=
                                largest_us[a] + largest_us[b] + 2 * FairQueue::quantum_us);
                }
            }
        }
    }
}

// Whatever is pushed, taken, returned and erased: everything comes out once, in order within an
// identity, and the sums hold.
void nothing_is_lost_or_doubled(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    FairQueue queue;
    std::map<std::uint64_t, Turn> waiting;
    std::vector<Turn> taken;
    std::uint64_t number = 0;
    for (int i = 0; i < 50'000; ++i) {
        const unsigned what = random() % 16;
        if (what < 6) {
            const auto priority = random() % 4 == 0 ? Priority::batch : Priority::interactive;
            const Turn next = turn(++number, random() % 20, random() % 40'000, priority);
            queue.push(next);
            waiting[next.number] = next;
        } else if (what < 11 && !waiting.empty()) {
            const Turn next = waiting.at(take(queue));
            const bool in_order =
                std::none_of(waiting.begin(), waiting.end(), [&](const auto& entry) {
                    return entry.second.identity == next.identity &&
                           entry.second.priority == next.priority &&
                           entry.second.number < next.number;
                });
            assert_true(in_order);
            waiting.erase(next.number);
            taken.push_back(next);
        } else if (what == 11 && !waiting.empty()) {
            const Turn gone =
                std::next(waiting.begin(), static_cast<long>(random() % waiting.size()))->second;
            assert_true(queue.erase(gone));
            waiting.erase(gone.number);
        } else if (what == 12 && !taken.empty() && taken.back().number == number) {
            queue.push_front(taken.back());
            waiting[number] = taken.back();
            taken.pop_back();
        } else if (!taken.empty()) {
            queue.settle(taken.back(), random() % 100'000);
            taken.pop_back();
        }
        std::uint64_t sum_us = 0;
        for (const auto& [n, waits] : waiting) {
            sum_us += std::max<std::uint64_t>(waits.cost_us, 1);
        }
        assert_int_equal(queue.size(), waiting.size());
        assert_int_equal(queue.waiting_us(), sum_us);
        assert_int_equal(queue.front().has_value(), !waiting.empty());
    }
}

// Jobs that look cheap and are not: after the first ones are over, their sender waits for others.
void what_a_job_really_took_is_paid(void**) {
    FairQueue queue;
    std::map<std::uint64_t, std::uint64_t> given_us;
    for (std::uint64_t i = 0; i < 2000; ++i) {
        queue.push(turn(2 * i, 0, 100));      // each takes 100 times that
        queue.push(turn(2 * i + 1, 1, 100));  // honest
    }
    for (int i = 0; i < 1500; ++i) {
        const std::uint64_t number = take(queue);
        const std::uint64_t identity = number % 2;
        const std::uint64_t took_us = identity == 0 ? 10'000 : 100;
        given_us[identity] += took_us;
        queue.settle(turn(number, identity, 100), took_us);
    }
    const auto [less, more] = std::minmax(given_us[0], given_us[1]);
    assert_true(more - less <= 2 * FairQueue::quantum_us + 10 * 10'000);
}

// A batch job is served once interactive ones were given eight times its cost, and not before.
void batch_has_its_eighth_and_no_more(void**) {
    FairQueue queue;
    std::uint64_t number = 0;
    std::map<bool, std::uint64_t> given_us;
    std::set<std::uint64_t> batch;
    for (int i = 0; i < 4000; ++i) {
        ++number;
        queue.push(turn(number, number % 5, 1'000));
        queue.push(turn(++number, 9, 3'000, Priority::batch));
        batch.insert(number);
    }
    for (int i = 0; i < 3000; ++i) {
        const bool is_batch = batch.contains(take(queue));
        given_us[is_batch] += is_batch ? 3'000 : 1'000;
        assert_true(given_us[true] * FairQueue::batch_share <= given_us[false]);
        assert_true(given_us[true] + 2 * 3'000 >= given_us[false] / FairQueue::batch_share);
    }
}

void batch_alone_has_everything_and_interactive_comes_first_again(void**) {
    FairQueue queue;
    for (std::uint64_t i = 0; i < 20; ++i) {
        queue.push(turn(i, 1, 5'000, Priority::batch));
    }
    for (std::uint64_t i = 0; i < 10; ++i) {
        assert_int_equal(take(queue), i);
    }
    queue.push(turn(100, 2, 5'000));
    assert_int_equal(take(queue), 100);
    assert_int_equal(take(queue), 10);
}

// Newcomers without end: who was there before them is served all the same.
void a_flood_of_identities_starves_nobody(void**) {
    FairQueue queue;
    std::uint64_t number = 0;
    for (std::uint64_t i = 0; i < 256; ++i) {
        ++number;
        queue.push(turn(number, 1'000 + number, clip_us));
    }
    const std::uint64_t ours = ++number;
    queue.push(turn(ours, 1, 25'000));
    for (int taken = 0;; ++taken) {
        assert_true(taken < 256 * 30);
        const std::uint64_t next = take(queue);
        if (next == ours) {
            break;
        }
        ++number;
        queue.push(turn(number, 1'000 + number, clip_us));
    }
}

// The sentence of the issue, with a clock of its own: two servers, one lane. One client has 200
// hour-long files waiting; a clip of anybody else's is the next to be begun, and so waits as it
// would alone, but for the jobs that run already.
void two_hundred_long_files_of_one_client_stand_behind_a_strangers_clip(void**) {
    FairQueue queue;
    for (std::uint64_t i = 0; i < 200; ++i) {
        queue.push(turn(i, 1, hour_long_us));
    }
    (void)take(queue);
    for (std::uint64_t clip = 0; clip < 500; ++clip) {
        queue.push(turn(1'000 + clip, 2 + clip % 7, clip_us));
        assert_true(take(queue) >= 1'000);
        if (clip % 100 == 99) {
            assert_true(take(queue) < 200);  // and nobody idles for that
        }
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(one_identity_is_first_in_first_out),
        cmocka_unit_test(who_comes_back_is_next),
        cmocka_unit_test(what_waits_can_be_taken_out_once),
        cmocka_unit_test(shares_are_equal_whatever_the_jobs_cost),
        cmocka_unit_test(nothing_is_lost_or_doubled),
        cmocka_unit_test(what_a_job_really_took_is_paid),
        cmocka_unit_test(batch_has_its_eighth_and_no_more),
        cmocka_unit_test(batch_alone_has_everything_and_interactive_comes_first_again),
        cmocka_unit_test(a_flood_of_identities_starves_nobody),
        cmocka_unit_test(two_hundred_long_files_of_one_client_stand_behind_a_strangers_clip),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
