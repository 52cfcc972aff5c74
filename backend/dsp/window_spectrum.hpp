// The Fourier transform of a window at any distance from its centre, in closed form.
//
// For: fitting sinusoids between bins, and knowing their leakage. Not for: making windows
// (window.hpp).
#pragma once

#include <complex>
#include <cstddef>

#include "dsp/window.hpp"

namespace sonogate::dsp {

// The same place on a circle, −period/2 to period/2. For x within a few periods: std::remainder is
// slow.
constexpr double wrapped(double x, double period) noexcept {
    while (x > period / 2.0) {
        x -= period;
    }
    while (x < -period / 2.0) {
        x += period;
    }
    return x;
}

class WindowSpectrum {
  public:
    // A window of `length` samples, 1 and up.
    WindowSpectrum(WindowKind kind, std::size_t length) noexcept;

    // Σ_i w[i] exp(−2πj·x·i/length) over the window's sum, x in window bins (1 = rate/length): 1 at
    // x = 0. Exact, periodic in `length` as the transform of samples is.
    std::complex<double> at(double window_bins) const noexcept;
    double power_at(double window_bins) const noexcept { return std::norm(at(window_bins)); }

    // A bound of power_at() for anything within half a bin: the lobe inside, the tops of the side
    // lobes outside.
    double power_envelope_at(double window_bins) const noexcept;

    double half_bins() const noexcept { return half_bins_; }
    double sum() const noexcept { return sum_; }  // Σ_i w[i]

  private:
    std::array<double, 4> terms_;                // with alternating signs, over what they sum to
    std::array<std::complex<double>, 4> turns_;  // exp(jπk/length)
    double length_;
    double half_bins_;
    double sum_ = 0.0;
};

}  // namespace sonogate::dsp
