// The mean power spectrum of a signal that comes in pieces: blocks of n samples, a hop apart,
// weighted and transformed.
//
// For: spectrum, peaks and spectral features of an analysis. Not for: spectra over time.
// Blocks begin at 0, hop, 2 hop, … as long as they are whole (Welch 1967 without padding); less
// than a hop at the end is left out. A signal shorter than n is one block: weighted over its own
// length, then zero-padded. n = 0 takes the whole signal as one block, padded to a length that FFTW
// likes. Memory: O(n), and the whole signal where n = 0. Chunking does not matter.
#pragma once

#include <complex>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "dsp/fft.hpp"
#include "dsp/window.hpp"

namespace sonogate::dsp {

struct BlockShape {
    std::size_t fft_size = 4096;  // 0 = the whole signal
    std::size_t hop = 1024;       // 1 to fft_size; without meaning for the whole signal
    WindowKind window = WindowKind::hann;
};

// A spectrum as it came out. power[k] is the mean of |X[k]|² over (Σw/2)²: 1 at the bin of a
// full-scale sine.
struct Spectrum {
    std::size_t fft_size = 0;       // of the transform, padding included
    std::size_t window_length = 0;  // samples weighted: fft_size, or fewer where padded
    WindowKind window = WindowKind::hann;
    std::uint64_t blocks = 0;
    std::vector<double> power;  // fft_size/2 + 1
    std::span<const std::complex<float>>
        single;  // X of the only block, else empty; lies in the FFT's output
};

class MeanSpectrum {
  public:
    // `plans` is borrowed for life; where there is one block, the spectrum borrows its output until
    // the next use of them. `memory_bytes` bounds what may be used, 0 = unbounded. `stop_requested`
    // may be empty.
    MeanSpectrum(FftPlans& plans, const BlockShape& shape, std::uint64_t memory_bytes,
                 std::function<bool()> stop_requested);

    // Where the length is known: refuses before anything is allocated. Errors: job_too_large.
    Result<void> expect(std::uint64_t samples) const;

    // Errors: cancelled; job_too_large.
    Result<void> push(std::span<const float> samples);

    // Nothing may be pushed after. Errors: those of push(); too_short where nothing was pushed.
    Result<Spectrum> finish();

    // What a transform of `samples` costs at most: samples, window, both sides of the FFT, its
    // tables, the sums.
    static constexpr std::uint64_t bytes_a_sample = 40;

  private:
    Result<void> run_blocks();
    void run_block(std::span<const float> samples);
    bool stopped() const { return stop_requested_ && stop_requested_(); }

    FftPlans& plans_;
    BlockShape shape_;
    std::uint64_t memory_bytes_;
    std::function<bool()> stop_requested_;
    RealFft* fft_ = nullptr;
    std::vector<float> window_;
    std::vector<float> pending_;  // from the next block's first sample on
    std::vector<double> power_;
    std::uint64_t blocks_ = 0;
};

// The smallest 2^a 3^b 5^c 7^d that is even and at least n.
std::size_t good_fft_size(std::size_t n) noexcept;

}  // namespace sonogate::dsp
