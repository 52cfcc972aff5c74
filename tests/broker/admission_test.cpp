#include "broker/admission.hpp"

#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using broker::Admission;

namespace {

constexpr std::uint64_t mib = 1U << 20U;

shm::JobId id(std::uint32_t slot) {
    return {7, slot, 1};
}

void the_first_grant_is_one_step(void**) {
    Admission admission;
    admission.set_limit(100 * mib);
    assert_true(admission.admit(id(1), 50 * mib, 0) == Admission::Answer::granted);
    assert_int_equal(admission.held_bytes(id(1)), mib);
    assert_true(admission.admit(id(2), 1000, 0) == Admission::Answer::granted);
    assert_int_equal(admission.held_bytes(id(2)), 1000);
    assert_true(admission.admit(id(2), 1000, 0) == Admission::Answer::unknown);
    assert_int_equal(admission.used_bytes(), mib + 1000);
}

void a_need_beyond_the_limit_is_refused_and_one_beyond_its_word_too(void**) {
    Admission admission;
    admission.set_limit(10 * mib);
    assert_true(admission.admit(id(1), 10 * mib + 1, 0) == Admission::Answer::too_large);
    assert_true(admission.admit(id(1), 5 * mib, 0) == Admission::Answer::granted);
    assert_true(admission.charge(id(1), 5 * mib + 1) == Admission::Answer::too_large);
    assert_true(admission.charge(id(1), 5 * mib) == Admission::Answer::granted);
    assert_true(admission.charge(id(1), mib) == Admission::Answer::granted);  // nothing to do
    assert_int_equal(admission.held_bytes(id(1)), 5 * mib);
    assert_true(admission.charge(id(9), 1) == Admission::Answer::unknown);
}

void two_that_could_block_each_other_take_turns(void**) {
    Admission admission;
    admission.set_limit(10 * mib);
    admission.admit(id(1), 8 * mib, 0);
    admission.admit(id(2), 8 * mib, 0);
    assert_true(admission.charge(id(1), 5 * mib) == Admission::Answer::granted);
    // 5 + 4 of 10: neither could reach 8 any more.
    assert_true(admission.charge(id(2), 4 * mib) == Admission::Answer::waits);
    assert_true(admission.charge(id(1), 8 * mib) == Admission::Answer::granted);
    assert_true(admission.take_grants().empty());
    admission.give_back(id(1));
    const auto grants = admission.take_grants();
    assert_int_equal(grants.size(), 1);
    assert_true(grants[0].id == id(2));
    assert_false(grants[0].admitted);
    assert_int_equal(grants[0].held_bytes, 4 * mib);
}

void who_gives_back_while_waiting_is_told_of(void**) {
    Admission admission;
    admission.set_limit(mib);
    admission.admit(id(1), mib, 0);
    assert_true(admission.admit(id(2), mib, 0) == Admission::Answer::waits);
    Admission::Grant waited;
    assert_true(admission.give_back(id(2), waited));
    assert_true(waited.id == id(2) && waited.admitted);
    assert_int_equal(admission.waiting(), 0);
    assert_false(admission.give_back(id(1), waited));
    assert_int_equal(admission.used_bytes(), 0);
}

void what_is_carried_over_is_taken_as_it_is(void**) {
    Admission admission;
    admission.set_limit(10 * mib);
    assert_true(admission.admit(id(1), 9 * mib, 9 * mib) == Admission::Answer::granted);
    assert_true(admission.admit(id(2), 9 * mib, 9 * mib) == Admission::Answer::granted);
    assert_int_equal(admission.used_bytes(), 18 * mib);
    assert_false(admission.has_room(1));
    assert_true(admission.admit(id(3), 1, 0) == Admission::Answer::waits);
    admission.give_back(id(1));
    assert_int_equal(admission.take_grants().size(), 1);
}

void a_lower_limit_pauses_uploads_and_a_higher_one_lets_them_go_on(void**) {
    Admission admission;
    admission.set_limit(10 * mib);
    admission.admit(id(1), 8 * mib, 0);
    admission.set_limit(2 * mib);
    assert_true(admission.charge(id(1), 2 * mib) == Admission::Answer::waits);
    assert_true(admission.take_grants().empty());
    admission.set_limit(8 * mib);
    assert_int_equal(admission.take_grants().size(), 1);
}

void a_closing_link_takes_all_its_tickets_along(void**) {
    Admission admission;
    admission.set_limit(2 * mib);
    for (std::uint32_t i = 0; i < 10; ++i) {
        (void)admission.admit({1, i, 1}, mib, 0);
        (void)admission.admit({2, i, 1}, mib, 0);
    }
    admission.forget(1);
    assert_int_equal(admission.tickets(), 10);
    admission.forget(2);
    assert_int_equal(admission.tickets() + admission.waiting() + admission.used_bytes(), 0);
}

// Uploads of random sizes that arrive in random steps, some of which leave half-way. Whatever the
// order, somebody can always go on, memory is never exceeded, and all of them end.
void random_uploads_never_block_each_other(void**) {
    struct Upload {
        std::uint32_t slot;
        std::uint64_t need;
        std::uint64_t got;
        bool waits;
    };
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937_64 random(seed);
    for (int round = 0; round < 200; ++round) {
        Admission admission;
        const std::uint64_t limit = (1 + random() % 64) * mib;
        admission.set_limit(limit);
        std::vector<Upload> uploads;
        std::uint32_t next = 1;
        int to_come = 60;
        const auto take = [&](const std::vector<Admission::Grant>& grants) {
            for (const auto& grant : grants) {
                const auto at = std::find_if(uploads.begin(), uploads.end(), [&](const Upload& u) {
                    return u.slot == grant.id.slot;
                });
                assert_true(at != uploads.end() && at->waits);
                at->waits = false;
                at->got = grant.held_bytes;
            }
        };
        while (to_come > 0 || !uploads.empty()) {
            assert_true(admission.used_bytes() <= limit);
            std::vector<std::size_t> able;
            for (std::size_t i = 0; i < uploads.size(); ++i) {
                if (!uploads[i].waits) {
                    able.push_back(i);
                }
            }
            if (to_come > 0 && (able.empty() || random() % 3 == 0)) {
                --to_come;
                Upload upload{next++, 1 + random() % limit, 0, false};
                const auto answer = admission.admit(id(upload.slot), upload.need, 0);
                assert_true(answer == Admission::Answer::granted ||
                            answer == Admission::Answer::waits);
                upload.waits = answer == Admission::Answer::waits;
                upload.got = upload.waits ? 0 : std::min(upload.need, mib);
                uploads.push_back(upload);
                continue;
            }
            assert_false(able.empty());  // all wait for each other: the one thing that must not be
            auto& upload = uploads[able[random() % able.size()]];
            const bool leaves = random() % 50 == 0;
            if (leaves || upload.got == upload.need) {
                admission.give_back(id(upload.slot));
                uploads.erase(uploads.begin() + (&upload - uploads.data()));
                take(admission.take_grants());
                continue;
            }
            const std::uint64_t more = std::min(upload.need, upload.got + 1 + random() % (4 * mib));
            switch (admission.charge(id(upload.slot), more)) {
                case Admission::Answer::granted:
                    upload.got = more;
                    break;
                case Admission::Answer::waits:
                    upload.waits = true;
                    break;
                default:
                    fail();
            }
        }
        assert_int_equal(admission.tickets() + admission.waiting() + admission.used_bytes(), 0);
    }
}

void a_caller_holds_as_many_as_it_may_and_every_way_out_frees_it(void**) {
    Admission admission;
    admission.set_limit(100 * mib);
    const broker::Caller two{.hash = 1, .most_at_once = 2};
    const broker::Caller other{.hash = 2, .most_at_once = 2};
    Admission::Grant grant;
    assert_true(admission.admit(id(1), mib, 0, two) == Admission::Answer::granted);
    assert_false(admission.settle(id(2), 10, grant, two));
    assert_true(admission.admit(id(3), mib, 0, two) == Admission::Answer::too_many);
    assert_false(admission.has(id(3)));
    assert_false(admission.has_room(two));
    assert_true(admission.has_room(other));
    assert_true(admission.has_room(broker::Caller{.hash = 1, .most_at_once = 3}));
    assert_true(admission.admit(id(4), mib, mib, two) ==
                Admission::Answer::granted);  // carried over
    assert_int_equal(admission.callers().tickets(), 3);
    assert_false(admission.settle(id(1), mib, grant, other));  // a ticket stays who it was made for
    assert_int_equal(admission.callers().callers(), 1);
    admission.give_back(id(1));
    admission.give_back(id(1));
    assert_false(admission.has_room(two));
    admission.give_back(id(4));
    assert_true(admission.has_room(two));
    admission.forget(7);
    assert_int_equal(admission.callers().tickets(), 0);
    assert_int_equal(admission.callers().callers(), 0);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_caller_holds_as_many_as_it_may_and_every_way_out_frees_it),
        cmocka_unit_test(the_first_grant_is_one_step),
        cmocka_unit_test(a_need_beyond_the_limit_is_refused_and_one_beyond_its_word_too),
        cmocka_unit_test(two_that_could_block_each_other_take_turns),
        cmocka_unit_test(who_gives_back_while_waiting_is_told_of),
        cmocka_unit_test(what_is_carried_over_is_taken_as_it_is),
        cmocka_unit_test(a_lower_limit_pauses_uploads_and_a_higher_one_lets_them_go_on),
        cmocka_unit_test(a_closing_link_takes_all_its_tickets_along),
        cmocka_unit_test(random_uploads_never_block_each_other),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
