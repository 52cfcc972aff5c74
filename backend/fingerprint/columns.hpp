// First stage: samples in, one log power spectrum out for every hop.
//
// For: LocalMaxima. Not for: spectra that are shown to anybody (dsp/spectrum.hpp).
// Samples may come in pieces of any size: each column is made of the same block by the same
// arithmetic, so the result is bit-identical to that of one piece.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "dsp/fft.hpp"
#include "fingerprint/peak.hpp"

namespace sonogate::fingerprint {

// log2 of the power of each bin: a full-scale sine has 16, silence has floor_log2.
using Column = std::array<float, row_bins>;
inline constexpr float full_scale_log2 = 16.0F;
inline constexpr float floor_log2 = -40.0F;

class Columns {
  public:
    // `fft` has block_frames points and is borrowed.
    explicit Columns(dsp::RealFft& fft);

    // Takes what fits from the front of `samples` and drops it there. True: column() is the next
    // column; call again with the rest. False: `samples` is used up.
    bool next(std::span<const float>& samples) noexcept;

    const Column& column() const noexcept { return column_; }

  private:
    void transform() noexcept;

    dsp::RealFft& fft_;
    std::vector<float> window_;
    std::array<float, block_frames> block_{};
    std::size_t filled_ = 0;
    alignas(64) Column column_{};
};

}  // namespace sonogate::fingerprint
