// Against numpy and scipy: tests/golden/analysis.py makes the expected values and the same signal.
#include <array>
#include <cmath>
#include <vector>

#include "dsp/levels.hpp"
#include "dsp/mean_spectrum.hpp"
#include "dsp/spectral_shape.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate::dsp;

namespace {

struct Expected {
    WindowKind window;
    std::array<double, 4> shape;  // centroid, rolloff, bandwidth, flatness
    std::array<double, 9> power;
};

constexpr Expected expected[] = {
#include "tests/golden/analysis.inc"
};
constexpr std::array<std::size_t, 9> picked = {0, 1, 2, 25, 26, 77, 200, 255, 256};

constexpr std::array<double, 6> expected_levels =  // peak, RMS, crest, offset, silence, crossings
#include "tests/golden/levels.inc"
    ;

constexpr std::uint32_t rate_hz = 8000;

std::vector<float> make_signal() {
    std::vector<float> out(12345);
    std::int64_t state = 12345;
    for (int i = 0; i < 12345; ++i) {
        state = (state * 1103515245 + 12345) % (std::int64_t{1} << 31);
        const auto noise = static_cast<int>((state >> 15) - 32768);
        const int eighth = (noise - (((noise % 8) + 8) % 8)) / 8;  // Python's // rounds down
        const int square = i / 10 % 2 == 0 ? 8000 : -8000;
        const int slow = i / 37 % 2 == 0 ? 4000 : -4000;
        out[static_cast<std::size_t>(i)] =
            i < 9000 ? static_cast<float>(eighth + square + slow + 500) / 32768.0F : 0.0F;
    }
    return out;
}

bool near(double value, double reference, double relative) {
    return std::abs(value - reference) <= relative * std::abs(reference);
}

std::vector<double> power_in_chunks(const BlockShape& shape, std::size_t chunk) {
    static FftPlans plans;
    const std::vector<float> samples = make_signal();
    MeanSpectrum mean(plans, shape, 0, {});
    for (std::size_t i = 0; i < samples.size(); i += chunk) {
        assert_true(static_cast<bool>(
            mean.push(std::span(samples).subspan(i, std::min(chunk, samples.size() - i)))));
    }
    auto spectrum = mean.finish();
    assert_true(static_cast<bool>(spectrum));
    return std::move(spectrum->power);
}

void mean_spectra_and_their_shapes_equal_scipys(void**) {
    for (const Expected& row : expected) {
        const auto power = power_in_chunks({512, 200, row.window}, 12345);
        for (std::size_t i = 0; i < picked.size(); ++i) {
            // single-precision FFT: 1e-7 of the strongest bin in amplitude
            assert_true(std::abs(std::sqrt(power[picked[i]]) - std::sqrt(row.power[i])) < 1e-6);
        }
        const SpectralShape shape = spectral_shape(power, rate_hz / 512.0);
        assert_true(near(shape.centroid_hz, row.shape[0], 1e-5));
        assert_true(near(shape.rolloff_hz, row.shape[1], 1e-12));
        assert_true(near(shape.bandwidth_hz, row.shape[2], 1e-5));
        assert_true(near(shape.flatness, row.shape[3], 1e-4));
    }
}

void levels_equal_numpys(void**) {
    const std::vector<float> samples = make_signal();
    Levels levels(rate_hz, 1);
    levels.push(samples);
    ZeroCrossings crossings;
    crossings.push(samples);
    const LevelFigures figures = levels.figures();
    assert_true(near(figures.peak_dbfs, expected_levels[0], 1e-7));
    assert_true(near(figures.rms_dbfs, expected_levels[1], 1e-7));
    assert_true(near(figures.crest_db, expected_levels[2], 1e-7));
    assert_true(
        near(figures.dc_offset, expected_levels[3], 1e-4));  // a small difference of large sums
    assert_true(near(figures.silence_ratio, expected_levels[4], 1e-12));
    assert_true(near(crossings.rate(), expected_levels[5], 1e-11));
}

void chunk_sizes_change_nothing(void**) {
    const std::vector<float> samples = make_signal();
    Levels whole(rate_hz, 1);
    whole.push(samples);
    for (const std::size_t chunk : {1U, 2U, 3U, 7U, 100U, 511U, 512U, 513U, 4096U}) {
        for (const BlockShape& shape :
             {BlockShape{512, 200, WindowKind::hann}, BlockShape{256, 1, WindowKind::rect},
              BlockShape{512, 512, WindowKind::blackman}, BlockShape{0, 0, WindowKind::hann},
              BlockShape{16384, 4096, WindowKind::hann}}) {
            assert_true(power_in_chunks(shape, chunk) == power_in_chunks(shape, samples.size()));
        }
        Levels pieces(rate_hz, 1);
        ZeroCrossings crossings;
        for (std::size_t i = 0; i < samples.size(); i += chunk) {
            const auto piece = std::span(samples).subspan(i, std::min(chunk, samples.size() - i));
            pieces.push(piece);
            crossings.push(piece);
        }
        // sums are rounded in another order: single precision within a segment of 20 ms
        assert_true(near(pieces.figures().rms_dbfs, whole.figures().rms_dbfs, 1e-6));
        assert_true(pieces.figures().peak_dbfs == whole.figures().peak_dbfs);
        assert_true(pieces.figures().silence_ratio == whole.figures().silence_ratio);
        assert_true(near(crossings.rate(), expected_levels[5], 1e-11));
    }
}

void good_sizes_are_even_smooth_and_close(void**) {
    for (std::size_t n = 1; n < 20000; n += 13) {
        std::size_t size = good_fft_size(n);
        assert_true(size >= n && size % 2 == 0 && size < n + n / 8 + 16);
        for (const std::size_t prime : {2U, 3U, 5U, 7U}) {
            while (size % prime == 0) {
                size /= prime;
            }
        }
        assert_int_equal(size, 1);
    }
}

void wisdom_comes_back(void**) {
    static FftPlans plans;
    plans.get(1024);
    const std::string wisdom = export_wisdom();
    assert_true(wisdom.size() > 100);
    assert_true(import_wisdom(wisdom));
    assert_false(import_wisdom("no wisdom"));
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(mean_spectra_and_their_shapes_equal_scipys),
        cmocka_unit_test(levels_equal_numpys),
        cmocka_unit_test(chunk_sizes_change_nothing),
        cmocka_unit_test(good_sizes_are_even_smooth_and_close),
        cmocka_unit_test(wisdom_comes_back),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
