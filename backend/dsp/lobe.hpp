// One sinusoid's trace in a spectrum: fitting it to bins, and bounding what it leaks elsewhere.
//
// For: dsp/sinusoids.cpp. Not for: anybody else. "Window bins" are rate / window length; "bins" are
// the FFT's, as many or more (zero padding).
#pragma once

#include <complex>

#include "dsp/window_spectrum.hpp"

namespace sonogate::dsp {

// How far a sinusoid lies from the bin at its maximum, towards the larger neighbour, from the ratio
// of the two powers. `step` is the neighbour's distance in window bins; the answer is in window
// bins, −step/4 to 3 step/4.
double offset_from_ratio(const WindowSpectrum& window, double step,
                         double neighbour_over_centre) noexcept;

// A bound of the leakage of a stationary sinusoid of power 1 at a distance, from a table made once
// a window.
double leakage_bound(WindowKind kind, double window_bins) noexcept;

}  // namespace sonogate::dsp
