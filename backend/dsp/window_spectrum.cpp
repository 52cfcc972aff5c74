#include "dsp/window_spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sonogate::dsp {

namespace {

constexpr double pi = std::numbers::pi;

}  // namespace

WindowSpectrum::WindowSpectrum(WindowKind kind, std::size_t length) noexcept
    : terms_(window_terms(kind)),
      length_(static_cast<double>(length)),
      half_bins_(main_lobe_half_bins(kind)) {
    // Cosine terms sum to zero over a period, unless so few samples alias them onto the mean.
    double sum = 0.0;
    for (std::size_t k = 0; k < terms_.size(); ++k) {
        terms_[k] = k % 2 == 0 ? terms_[k] : -terms_[k];
        turns_[k] = std::polar(1.0, pi * static_cast<double>(k) / length_);
        sum += k % length == 0 ? terms_[k] : 0.0;
    }
    sum_ = sum * length_;
    for (double& term : terms_) {
        term = sum > 0.0 ? term / sum : 0.0;
    }
}

// Each cosine of the window shifts the rectangle's transform by k bins to both sides:
//   D(x) = (1/length) Σ_i exp(−2πjxi/length) = exp(−jπx(length−1)/length) sin(πx) / (length
//   sin(πx/length)) D(x ∓ k) = exp(−jπx(length−1)/length) sin(πx) exp(∓jπk/length) / (length
//   sin(π(x ∓ k)/length))
// so two sines and cosines serve all terms.
std::complex<double> WindowSpectrum::at(double window_bins) const noexcept {
    constexpr double on_a_bin = 1e-7;  // nearer than that, sin(πx) over sin(πx/length) loses digits
    const double x = wrapped(window_bins, length_);
    const double nearest = std::round(x);
    if (std::abs(x - nearest) < on_a_bin) {
        double sum = 0.0;
        for (std::size_t k = 0; k < terms_.size(); ++k) {
            const auto shift = static_cast<double>(k);
            const double below = std::remainder(nearest - shift, length_) == 0.0 ? 0.5 : 0.0;
            const double above = std::remainder(nearest + shift, length_) == 0.0 ? 0.5 : 0.0;
            sum += terms_[k] * (below + above);
        }
        return sum;
    }
    const std::complex<double> whole = std::polar(1.0, pi * x);
    const std::complex<double> part = std::polar(1.0, pi * x / length_);
    std::complex<double> sum = terms_[0] / part.imag();
    for (std::size_t k = 1; k < terms_.size() && terms_[k] != 0.0; ++k) {
        const std::complex<double> turn = turns_[k];
        const double below =
            part.imag() * turn.real() - part.real() * turn.imag();  // sin(π(x − k)/length)
        const double above = part.imag() * turn.real() + part.real() * turn.imag();
        sum += terms_[k] / 2.0 * (std::conj(turn) / below + turn / above);
    }
    return sum * std::conj(whole) * part * (whole.imag() / length_);
}

double WindowSpectrum::power_envelope_at(double window_bins) const noexcept {
    const double x = std::abs(wrapped(window_bins, length_));
    double highest = 0.0;
    for (const double shift : {-0.5, -0.25, 0.0, 0.25, 0.5}) {
        highest = std::max(highest, power_at(std::max(0.0, x + shift)));
    }
    return highest;
}

}  // namespace sonogate::dsp
