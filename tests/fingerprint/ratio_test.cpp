#include "fingerprint/ratio.hpp"

#include <algorithm>
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
using fingerprint::Density;
using fingerprint::Fit;
using fingerprint::Peak;
using fingerprint::Ratio;

void scaled_peaks_ascend_and_stay_in_the_band(void**) {
    const auto clip = test::fingerprint_of(test::music(1, 8), Density::clip).peaks;
    assert_true(fingerprint::at_ratio(clip, {}) == clip);
    for (const Ratio ratio : fingerprint::ratio_grid()) {
        const auto scaled = fingerprint::at_ratio(clip, ratio);
        assert_true(scaled.size() <= clip.size());
        assert_true(std::is_sorted(scaled.begin(), scaled.end(),
                                   [](const Peak& a, const Peak& b) { return a.time < b.time; }));
        for (const Peak& p : scaled) {
            assert_true(p.frequency <= fingerprint::max_frequency);
        }
    }
}

void the_grid_reaches_four_percent_of_speed_five_of_tempo_and_a_semitone(void**) {
    const auto reaches = [](Ratio wanted) {
        const auto grid = fingerprint::ratio_grid();
        return std::any_of(grid.begin(), grid.end(), [&](Ratio r) {
            return std::abs(r.tempo - wanted.tempo) <= 0.005001 &&
                   std::abs(r.pitch - wanted.pitch) <= 0.0026;
        });
    };
    for (const double sign : {-1.0, 1.0}) {
        for (double change = 0.005; change <= 0.06; change += 0.0017) {
            const double by = 1 + sign * change;
            assert_true(change > 0.05 || reaches({by, by}));
            assert_true(reaches({by, 1}));
            assert_true(reaches({1, by}));
        }
    }
    assert_false(std::ranges::count(fingerprint::ratio_grid(), Ratio{}));
}

void a_guess_half_a_step_off_is_made_exact(void**) {
    const auto whole = test::fingerprint_of(test::music(2, 30), Density::track);
    const fingerprint::TrackPeaks track(whole);
    // The clip: the track's own peaks of 8 s, as a player 3.2 % too fast would have them.
    constexpr double tempo = 1.032;
    constexpr double start = 2000;
    std::vector<Peak> clip;
    for (const Peak& p : whole.peaks) {
        if (p.time >= start && p.time < start + 2000) {
            clip.push_back({static_cast<std::uint32_t>(std::lround((p.time - start) / tempo)),
                            static_cast<std::uint16_t>(std::lround(p.frequency * tempo)),
                            p.strength});
        }
    }
    const Fit fit = fingerprint::fit_ratio(clip, track, {{1.03, 1.03}, start + 2});
    assert_true(std::abs(fit.ratio.tempo - tempo) < 3e-4);
    assert_true(std::abs(fit.ratio.pitch - tempo) < 3e-4);
    assert_true(std::abs(fit.offset_time - start) < 0.5);
    const Fit same = fingerprint::fit_ratio({}, track, {{1.03, 1.03}, start});
    assert_true(same.ratio == (Ratio{1.03, 1.03}));
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(scaled_peaks_ascend_and_stay_in_the_band),
        cmocka_unit_test(the_grid_reaches_four_percent_of_speed_five_of_tempo_and_a_semitone),
        cmocka_unit_test(a_guess_half_a_step_off_is_made_exact),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
