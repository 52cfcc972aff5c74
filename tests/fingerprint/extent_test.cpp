#include "fingerprint/extent.hpp"

#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using fingerprint::Fingerprint;
using fingerprint::Peak;

// A steady tone coincides with itself at every offset: chance explains all of it, and there is no
// room between what chance gives and the most that a play is asked for.
void a_steady_tone_has_an_extent_inside_what_is_looked_at(void**) {
    Fingerprint track;
    for (std::uint32_t time = 0; time < 20'000; time += 2) {
        track.peaks.push_back({.time = time, .frequency = 400, .strength = 10});
    }
    std::vector<Peak> clip(track.peaks.begin() + 2'000, track.peaks.begin() + 6'000);
    for (const std::size_t other : {1'250U, 1'750U}) {  // on either side of the middle
        clip[other].frequency = 200;
    }
    const auto found = fingerprint::extent_of(clip, fingerprint::TrackPeaks(std::move(track)), {},
                                              {.first_time = 6'000, .last_time = 8'000});
    assert_int_equal(found.first_time, clip.front().time);
    assert_int_equal(found.last_time, clip.back().time);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_tone_has_an_extent_inside_what_is_looked_at),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
