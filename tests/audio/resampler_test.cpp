#include "audio/resampler.hpp"

#include <cmath>

#include "tests/audio/sound_file.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;

namespace {

std::vector<float> resampled(std::span<const float> in, std::uint32_t in_hz, std::uint32_t out_hz,
                             std::size_t chunk) {
    auto resampler = audio::Resampler::create(in_hz, out_hz);
    assert_true(static_cast<bool>(resampler));
    std::vector<float> out;
    for (std::size_t i = 0; i < in.size(); i += chunk) {
        assert_true(
            static_cast<bool>(resampler->push(in.subspan(i, std::min(chunk, in.size() - i)), out)));
    }
    assert_true(static_cast<bool>(resampler->finish(out)));
    return out;
}

void a_tone_keeps_its_frequency_amplitude_and_phase(void**) {
    for (const std::uint32_t in_hz : {8000U, 11025U, 22050U, 44100U, 48000U, 96000U, 192000U}) {
        const auto in = test::tone(440.0, in_hz, in_hz, 0.5, 0.3);
        const auto out = resampled(in, in_hz, 8000, 8192);
        const auto expected = test::tone(440.0, 8000, 8000, 0.5, 0.3);
        print_message("%u Hz: %zu samples\n", in_hz, out.size());
        assert_true(out.size() >= 7999 && out.size() <= 8001);
        for (std::size_t i = 500; i < 7500; ++i) {  // the filter rings at both ends
            assert_true(std::abs(out[i] - expected[i]) <
                        1e-4F);  // pass-band ripple of soxr's "high": 0.01 dB
        }
    }
}

void chunk_sizes_do_not_change_the_output(void**) {
    const auto in = test::tone(1234.5, 44100, 30000, 0.5);
    const auto whole = resampled(in, 44100, 8000, in.size());
    for (const std::size_t chunk : {1U, 3U, 100U, 1000U, 4096U}) {
        assert_true(resampled(in, 44100, 8000, chunk) == whole);
    }
}

void extreme_rates_give_output_or_a_refusal(void**) {
    const std::vector<float> in(2000, 0.25F);
    const auto slow = resampled(in, 10'000'000, 8000, 512);
    assert_true(slow.size() <= 3);
    const auto fast = resampled(std::span(in).first(3), 1, 8000, 512);
    assert_true(fast.size() > 20000 && fast.size() < 28000);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_tone_keeps_its_frequency_amplitude_and_phase),
        cmocka_unit_test(chunk_sizes_do_not_change_the_output),
        cmocka_unit_test(extreme_rates_give_output_or_a_refusal),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
