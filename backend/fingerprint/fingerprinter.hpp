// The signal chain from samples to a fingerprint: columns, local maxima, the strongest of them.
//
// For: worker operations and tests; feed it audio as it is decoded. Not for: resampling or mixing
// (it takes mono at sample_rate_hz), packing (packing.hpp) or searching (catalog/search.hpp).
// Thread: one at a time. Memory: 15 columns, and the peaks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fingerprint/columns.hpp"
#include "fingerprint/local_maxima.hpp"
#include "fingerprint/strongest.hpp"

namespace sonogate::fingerprint {

class Fingerprinter {
  public:
    // `fft` has block_frames points and is borrowed.
    Fingerprinter(dsp::RealFft& fft, Density density);

    // Samples of mono audio at sample_rate_hz, finite, full scale ±1, any number of them: the
    // fingerprint is bit-identical however they are cut into calls.
    void push(std::span<const float> samples);

    // The end. Samples after the last whole block are left out (at most 127 of them matter).
    Fingerprint finish();

  private:
    void select();

    Columns columns_;
    LocalMaxima maxima_;
    Strongest strongest_;
    std::vector<Maximum> found_;
    Fingerprint result_;
    std::uint64_t samples_ = 0;
};

}  // namespace sonogate::fingerprint
