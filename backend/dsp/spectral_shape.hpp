// Where the energy of a spectrum lies: centroid, rolloff, bandwidth, flatness.
//
// For: `spectral` of an analysis. Not for: pitch. Formulas and sources: docs/analysis.md.
#pragma once

#include <span>

namespace sonogate::dsp {

struct SpectralShape {
    double centroid_hz = 0.0;   // Σ f·m / Σ m, m the square root of the mean power
    double rolloff_hz = 0.0;    // the lowest bin frequency that has 85 % of Σ m at or below it
    double bandwidth_hz = 0.0;  // √(Σ m·(f − centroid)² / Σ m)
    double flatness = 0.0;      // geometric over arithmetic mean of the power, 0 to 1
};

// `power`: n/2+1 bins of a transform of n samples, `bin_hz` apart, any scale. All zeros of a silent
// spectrum are zeros.
SpectralShape spectral_shape(std::span<const double> power, double bin_hz) noexcept;

}  // namespace sonogate::dsp
