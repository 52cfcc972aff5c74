#include "fingerprint/score.hpp"

#include <algorithm>
#include <cmath>

#include "fingerprint/landmarks.hpp"
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
using fingerprint::Alignment;
using fingerprint::Density;
using fingerprint::Peak;
using fingerprint::TrackPeaks;

std::vector<Peak> clip_peaks(const std::vector<float>& samples) {
    return test::fingerprint_of(samples, Density::clip).peaks;
}

void a_true_offset_has_overwhelming_evidence_and_is_refined(void**) {
    const auto samples = test::music(1, 30);
    const TrackPeaks track(test::fingerprint_of(samples, Density::track));
    const double start_s = 11.2345;
    const auto clip = clip_peaks(test::cut(samples, start_s, 5));
    const auto guess = static_cast<std::int64_t>(start_s / fingerprint::seconds_per_time_unit) + 4;
    const Alignment a = fingerprint::align(clip, track, guess);
    assert_true(a.evidence > 100);
    // Half a millisecond: the mean of a hundred residuals of 1 to 2 ms each.
    assert_true(std::abs(a.offset_time * fingerprint::seconds_per_time_unit - start_s) < 5e-4);
    assert_true(a.first_time < 100 && a.last_time > 1000);
}

void a_wrong_offset_has_none(void**) {
    const auto samples = test::music(2, 30);
    const TrackPeaks track(test::fingerprint_of(samples, Density::track));
    const auto clip = clip_peaks(test::music(3, 5));
    double worst = 0;
    for (std::int64_t offset = -1000; offset < 8000; offset += 37) {
        worst = std::max(worst, fingerprint::align(clip, track, offset).evidence);
    }
    // 244 offsets: by the bound, evidence above ln(2 · 244 / 1e-4) comes once in 10,000 such tests.
    assert_true(worst < std::log(2 * 244 / 1e-4));
}

void a_clip_of_which_only_the_middle_is_the_track_is_found_there(void**) {
    const auto samples = test::music(4, 30);
    const TrackPeaks track(test::fingerprint_of(samples, Density::track));
    auto mixed = test::music(5, 30);
    const auto inserted = test::cut(samples, 8, 6);
    std::copy(inserted.begin(), inserted.end(), mixed.begin() + 12 * 8000);
    const Alignment a = fingerprint::align(clip_peaks(mixed), track, -4 * 250);
    assert_true(a.evidence > 50);
    assert_true(std::abs(a.first_time / 250.0 - 12) < 0.5);
    assert_true(std::abs(a.last_time / 250.0 - 18) < 0.5);
}

void a_clip_outside_the_track_has_no_evidence(void**) {
    const auto samples = test::music(6, 10);
    const TrackPeaks track(test::fingerprint_of(samples, Density::track));
    const auto clip = clip_peaks(test::cut(samples, 0, 5));
    for (const std::int64_t offset : {-100'000, -1251, 2501, 100'000}) {
        assert_true(fingerprint::align(clip, track, offset).evidence == 0);
    }
    assert_true(fingerprint::align({}, track, 0).evidence == 0);
    assert_true(fingerprint::align(clip, TrackPeaks({}), 0).evidence == 0);
}

void the_bound_grows_with_the_places_tried(void**) {
    using fingerprint::false_positive_bound;
    assert_true(false_positive_bound(0, 1) == 1);
    assert_true(std::abs(false_positive_bound(20, 1e6) - 2e6 * std::exp(-20.0)) < 1e-9);
    assert_true(false_positive_bound(20, 1e5) < false_positive_bound(20, 1e6));
    assert_true(false_positive_bound(5000, 1e12) == 0);
}

void every_key_of_a_track_is_asked_by_a_clip_that_holds_its_peaks(void**) {
    const auto track = test::fingerprint_of(test::music(7, 10), Density::track);
    const auto keys = fingerprint::track_landmarks(track.peaks);
    const auto queries = fingerprint::clip_queries(track.peaks);
    assert_true(keys.size() > 500);
    std::size_t asked = 0;
    for (const auto& landmark : keys) {
        asked += std::any_of(queries.queries.begin(), queries.queries.end(), [&](const auto& q) {
            return q.key == landmark.key && q.column == landmark.column;
        });
        assert_true(landmark.key < 1U << fingerprint::key_bits);
    }
    assert_int_equal(asked, keys.size());
    assert_true(queries.queries.size() <= std::size_t{8} * queries.pairs);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_true_offset_has_overwhelming_evidence_and_is_refined),
        cmocka_unit_test(a_wrong_offset_has_none),
        cmocka_unit_test(a_clip_of_which_only_the_middle_is_the_track_is_found_there),
        cmocka_unit_test(a_clip_outside_the_track_has_no_evidence),
        cmocka_unit_test(the_bound_grows_with_the_places_tried),
        cmocka_unit_test(every_key_of_a_track_is_asked_by_a_clip_that_holds_its_peaks),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
