// The sinusoids in a spectrum: where they are between the bins, how strong, and at which phase.
//
// For: `peaks` of an analysis. Not for: landmarks (fingerprint/ has its own, cheaper maxima).
//
// A stationary sinusoid shows as the window's own transform, shifted to its frequency. So a local
// maximum is believed when it cannot be explained by the transforms of stronger ones (side lobes,
// and the skirts that a tone which begins or ends within a block has), and its frequency is where
// the window's transform fits the two highest bins exactly; no parabola. Where there is one block,
// its complex spectrum lets all of them be fitted together, each with the others' leakage and its
// own negative-frequency image taken away (CLEAN, Högbom 1974, on fitted frequencies); where there
// are many, powers are taken away, since phases average out. docs/analysis.md has the formulas.
#pragma once

#include <cstddef>
#include <vector>

#include "dsp/mean_spectrum.hpp"

namespace sonogate::dsp {

struct Sinusoid {
    double frequency_bins = 0.0;  // of the FFT: × rate / fft_size for Hz
    double amplitude = 0.0;       // 1 = full scale
    double phase_rad =
        0.0;  // cosine phase at the first sample, −π to π; 0 unless there was one block
};

// At most `limit`, largest amplitude first. Left out: more than 60 dB below the largest; less than
// 6 dB above the local median (the larger of the medians of 48 window bins on each side); leakage.
// Frequency 0 is not a sinusoid. Cost: O(bins) for the maxima; what follows is bounded by 4096
// candidates and 256 sinusoids.
std::vector<Sinusoid> find_sinusoids(const Spectrum& spectrum, std::size_t limit);

}  // namespace sonogate::dsp
