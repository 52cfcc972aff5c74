#include "fingerprint/fingerprinter.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

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
using fingerprint::Fingerprint;
using fingerprint::Peak;

Fingerprint in_pieces(const std::vector<float>& samples, std::size_t piece) {
    dsp::RealFft fft(fingerprint::block_frames);
    fingerprint::Fingerprinter chain(fft, Density::track);
    for (std::size_t at = 0; at < samples.size(); at += piece) {
        chain.push(std::span(samples).subspan(at, std::min(piece, samples.size() - at)));
    }
    return chain.finish();
}

void pieces_of_any_size_give_bit_identical_fingerprints(void**) {
    const auto samples = test::music(1, 12.3);
    const Fingerprint whole = in_pieces(samples, samples.size());
    assert_true(whole.peaks.size() > 200);
    for (const std::size_t piece : {1U, 7U, 127U, 128U, 129U, 1000U, 1024U, 4096U, 65536U}) {
        assert_true(in_pieces(samples, piece) == whole);
    }
    test::Random random(2);
    dsp::RealFft fft(fingerprint::block_frames);
    fingerprint::Fingerprinter chain(fft, Density::track);
    for (std::span<const float> rest(samples); !rest.empty();) {
        const std::size_t piece = std::min<std::size_t>(rest.size(), random.below(3000));
        chain.push(rest.first(piece));
        rest = rest.subspan(piece);
    }
    assert_true(chain.finish() == whole);
}

struct Burst {
    double at_s;
    double hz;
};

// Tones under a Gaussian have their spectral peak exactly where they are made, in both directions:
// expectations need no other program. The places avoid the grid of bins and columns.
void bursts_are_found_where_they_are(void**) {
    const std::vector<Burst> bursts = {{0.5, 440.0},   {0.9, 1000.3}, {1.3, 333.3},
                                       {1.71, 3003.7}, {2.2, 2222.2}, {2.6, 700.1}};
    std::vector<float> samples(3 * fingerprint::sample_rate_hz);
    for (const Burst& burst : bursts) {
        for (std::size_t i = 0; i < samples.size(); ++i) {
            const double t = static_cast<double>(i) / fingerprint::sample_rate_hz - burst.at_s;
            samples[i] += static_cast<float>(0.3 * std::exp(-t * t / (2 * 0.04 * 0.04)) *
                                             std::cos(2 * std::numbers::pi * burst.hz * t));
        }
    }
    const Fingerprint made = test::fingerprint_of(samples, Density::track);
    for (const Burst& burst : bursts) {
        const double time = (burst.at_s - 0.064) / fingerprint::seconds_per_time_unit;
        const double frequency = burst.hz / 7.8125 * fingerprint::frequency_steps;
        const bool found = std::any_of(made.peaks.begin(), made.peaks.end(), [&](const Peak& p) {
            // One step of each: the parabola is exact for a Gaussian's log power but for the
            // Hann window's share in it; rounding takes half a step.
            return std::abs(p.time - time) <= 1.0 && std::abs(p.frequency - frequency) <= 1.0;
        });
        assert_true(found);
    }
    // The strongest by far are the bursts: little else stands out.
    const auto strong = std::count_if(made.peaks.begin(), made.peaks.end(),
                                      [](const Peak& p) { return p.strength == 15; });
    assert_in_range(strong, bursts.size(), 3 * bursts.size());
}

void levels_do_not_matter(void**) {
    const auto samples = test::music(3, 10);
    const Fingerprint loud = test::fingerprint_of(samples, Density::track);
    std::vector<float> quiet = samples;
    for (float& sample : quiet) {
        sample /= 32;  // 30 dB
    }
    const Fingerprint made = test::fingerprint_of(quiet, Density::track);
    std::vector<Peak> both;
    std::set_intersection(loud.peaks.begin(), loud.peaks.end(), made.peaks.begin(),
                          made.peaks.end(), std::back_inserter(both));
    // Not all: the floor of -110 dBFS takes the faintest.
    assert_true(both.size() * 100 >= loud.peaks.size() * 97);
    assert_true(std::abs(loud.loudest_dbfs - made.loudest_dbfs - 30.1F) < 0.1F);
}

void a_clip_keeps_what_the_track_kept_wherever_it_is_cut(void**) {
    const auto samples = test::music(4, 20);
    const Fingerprint track = test::fingerprint_of(samples, Density::track);
    for (const double start_s : {3.0, 5.0317, 7.777}) {
        const Fingerprint clip =
            test::fingerprint_of(test::cut(samples, start_s, 5), Density::clip);
        const double offset = start_s / fingerprint::seconds_per_time_unit;
        int inside = 0;
        int kept = 0;
        for (const Peak& p : track.peaks) {
            const double time = p.time - offset;
            if (time < 200 || time > 1000) {  // borders see less of their neighbourhood
                continue;
            }
            ++inside;
            kept += std::any_of(clip.peaks.begin(), clip.peaks.end(), [&](const Peak& q) {
                return std::abs(q.time - time) <= 5 && std::abs(q.frequency - p.frequency) <= 6;
            });
        }
        assert_true(inside > 60);
        assert_true(kept * 100 >= inside * 90);  // music at a fractional hop: 95 to 100 measured
    }
}

void no_more_peaks_are_kept_than_the_density_says(void**) {
    const auto samples = test::noise(5, 20, 0.1);
    const auto track = test::fingerprint_of(samples, Density::track);
    const auto clip = test::fingerprint_of(samples, Density::clip);
    // Ranks in a sliding second: the mean is the limit, borders have a few more.
    assert_in_range(track.peaks.size(), 20 * 27, 20 * 33);
    assert_in_range(clip.peaks.size(), 20 * 90, 20 * 110);
    assert_true(std::is_sorted(clip.peaks.begin(), clip.peaks.end()));
    // A clip keeps what its track kept, but for a few that noise's own peaks outrank. Strengths
    // differ: a clip looks at less of the surroundings.
    const auto kept = std::count_if(track.peaks.begin(), track.peaks.end(), [&](const Peak& p) {
        return std::any_of(clip.peaks.begin(), clip.peaks.end(), [&](const Peak& q) {
            return q.time == p.time && q.frequency == p.frequency;
        });
    });
    assert_true(static_cast<std::size_t>(kept) * 100 >= track.peaks.size() * 90);
}

void silence_offset_and_too_little_audio_have_no_peaks(void**) {
    for (const float level : {0.0F, 0.5F, 1e-6F}) {
        const auto made = test::fingerprint_of(std::vector<float>(40000, level), Density::clip);
        assert_int_equal(made.peaks.size(), 0);
        assert_true(fingerprint::is_silent(made));
        assert_int_equal(made.duration_ms, 5000);
    }
    for (const std::size_t frames : {0U, 1U, 1023U, 1024U}) {
        const auto made = test::fingerprint_of(
            test::cut(test::music(6, 1), 0, static_cast<double>(frames) / 8000), Density::clip);
        assert_int_equal(made.peaks.size(), 0);
        assert_true(fingerprint::is_too_short(made));
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size_give_bit_identical_fingerprints),
        cmocka_unit_test(bursts_are_found_where_they_are),
        cmocka_unit_test(levels_do_not_matter),
        cmocka_unit_test(a_clip_keeps_what_the_track_kept_wherever_it_is_cut),
        cmocka_unit_test(no_more_peaks_are_kept_than_the_density_says),
        cmocka_unit_test(silence_offset_and_too_little_audio_have_no_peaks),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
