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
      half_bins_(main_lobe_half_bins(kind)),
      sum_(0.0) {
    // Cosine terms sum to zero over a period, unless so few samples alias them onto the mean.
    double sum = 0.0;
    double sign = 1.0;
    for (std::size_t k = 0; k < terms_.size(); ++k) {
        sum += k % length == 0 ? sign * terms_[k] : 0.0;
        sign = -sign;
    }
    sum_ = sum * length_;
}

// (1/length) Σ_i exp(−2πj·x·i/length).
std::complex<double> WindowSpectrum::dirichlet(double window_bins) const noexcept {
    const double x = std::remainder(window_bins, length_);
    const double below = length_ * std::sin(pi * x / length_);
    const double magnitude = std::abs(x) < 1e-9 ? 1.0 : std::sin(pi * x) / below;
    return std::polar(1.0, -pi * x * (length_ - 1.0) / length_) * magnitude;
}

std::complex<double> WindowSpectrum::at(double window_bins) const noexcept {
    std::complex<double> sum = terms_[0] * dirichlet(window_bins);
    double sign = -1.0;
    for (std::size_t k = 1; k < terms_.size() && terms_[k] != 0.0; ++k) {
        const double shift = static_cast<double>(k);
        sum += sign * terms_[k] / 2.0 *
               (dirichlet(window_bins - shift) + dirichlet(window_bins + shift));
        sign = -sign;
    }
    return sum_ > 0.0 ? sum * length_ / sum_ : 0.0;
}

double WindowSpectrum::power_envelope_at(double window_bins) const noexcept {
    const double x = std::abs(std::remainder(window_bins, length_));
    double highest = 0.0;
    for (const double shift : {-0.5, -0.25, 0.0, 0.25, 0.5}) {
        highest = std::max(highest, power_at(std::max(0.0, x + shift)));
    }
    return highest;
}

}  // namespace sonogate::dsp
