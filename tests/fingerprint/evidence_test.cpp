#include "fingerprint/evidence.hpp"

#include <cmath>

#include "tests/fingerprint/synthetic.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using fingerprint::ByWeight;
using fingerprint::event_weights;

void a_nearer_and_stronger_coincidence_weighs_no_less(void**) {
    for (std::int32_t late = 0; late <= fingerprint::time_tolerance; ++late) {
        for (std::int32_t apart = 0; apart <= fingerprint::frequency_tolerance; ++apart) {
            for (std::uint8_t strength = 0; strength < 15; ++strength) {
                const std::size_t here = fingerprint::weight_of(late, apart, strength);
                assert_true(here <= fingerprint::max_weight);
                assert_true(here == fingerprint::weight_of(-late, -apart, strength));
                assert_true(here <= fingerprint::weight_of(
                                        late, apart, static_cast<std::uint8_t>(strength + 1)));
                assert_true(late == 0 || here <= fingerprint::weight_of(late - 1, apart, strength));
                assert_true(apart == 0 ||
                            here <= fingerprint::weight_of(late, apart - 1, strength));
            }
        }
    }
}

void the_usual_shape_sums_to_one(void**) {
    double sum = 0;
    for (const double share : fingerprint::usual_shape()) {
        sum += share;
    }
    assert_true(std::abs(sum - 1) < 0.02);
}

// A Poisson number of events, each of a weight drawn from `expected`.
std::size_t draw(test::Random& random, const ByWeight& expected) {
    std::size_t score = 0;
    for (std::size_t w = 0; w < event_weights; ++w) {
        double left = std::exp(-expected[w]);
        for (double product = random.uniform(0, 1); product > left;
             product *= random.uniform(0, 1)) {
            score += w;
        }
    }
    return score;
}

void chance_reaches_a_score_no_more_often_than_the_bound_says(void**) {
    constexpr int draws = 20'000;
    constexpr double mean_events = 6;
    ByWeight expected = fingerprint::usual_shape();
    for (double& e : expected) {
        e *= mean_events;
    }
    test::Random random(1);
    std::size_t reached[3] = {0, 0, 0};
    constexpr double bounds[3] = {0.1, 0.01, 0.001};
    for (int i = 0; i < draws; ++i) {
        const double evidence = fingerprint::surprise(draw(random, expected), expected);
        for (int k = 0; k < 3; ++k) {
            reached[k] += evidence >= -std::log(bounds[k]) ? 1 : 0;
        }
    }
    for (int k = 0; k < 3; ++k) {
        assert_true(static_cast<double>(reached[k]) <= bounds[k] * draws);
    }
    assert_true(reached[0] > 0);  // or the test tries nothing
}

void more_is_more_surprising_and_nothing_is_not(void**) {
    ByWeight expected = fingerprint::usual_shape();
    double before = 0;
    assert_true(fingerprint::surprise(0, expected) == 0);
    for (std::size_t score = 1; score < 400; score += 7) {
        const double now = fingerprint::surprise(score, expected);
        assert_true(now >= before);
        before = now;
    }
    assert_true(before > 50);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_nearer_and_stronger_coincidence_weighs_no_less),
        cmocka_unit_test(the_usual_shape_sums_to_one),
        cmocka_unit_test(chance_reaches_a_score_no_more_often_than_the_bound_says),
        cmocka_unit_test(more_is_more_surprising_and_nothing_is_not),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
