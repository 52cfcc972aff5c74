#include "dsp/spectral_shape.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace sonogate::dsp {

namespace {

constexpr double rolloff_share = 0.85;
constexpr double power_floor = 1e-20;  // −200 dB: keeps the logarithm finite, and is silence

}  // namespace

SpectralShape spectral_shape(std::span<const double> power, double bin_hz) noexcept {
    double magnitudes = 0.0;
    double weighted = 0.0;
    double powers = 0.0;
    double logarithms = 0.0;
    for (std::size_t k = 0; k < power.size(); ++k) {
        const double magnitude = std::sqrt(power[k]);
        magnitudes += magnitude;
        weighted += magnitude * static_cast<double>(k);
        powers += std::max(power[k], power_floor);
        logarithms += std::log(std::max(power[k], power_floor));
    }
    SpectralShape out;
    const auto bins = static_cast<double>(power.size());
    if (power.empty() || powers <= bins * power_floor * (1.0 + 1e-9)) {
        return out;
    }
    const double centroid = weighted / magnitudes;
    double spread = 0.0;
    double below = 0.0;
    std::size_t rolloff = power.size() - 1;
    bool found = false;
    for (std::size_t k = 0; k < power.size(); ++k) {
        const double magnitude = std::sqrt(power[k]);
        const double away = static_cast<double>(k) - centroid;
        spread += magnitude * away * away;
        below += magnitude;
        if (!found && below >= rolloff_share * magnitudes) {
            rolloff = k;
            found = true;
        }
    }
    out.centroid_hz = centroid * bin_hz;
    out.rolloff_hz = static_cast<double>(rolloff) * bin_hz;
    out.bandwidth_hz = std::sqrt(spread / magnitudes) * bin_hz;
    out.flatness = std::min(1.0, std::exp(logarithms / bins) / (powers / bins));
    return out;
}

}  // namespace sonogate::dsp
