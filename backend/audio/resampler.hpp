// One channel from any sample rate to another, as a stream (libsoxr).
//
// For: bringing a mono mix to the rate that an algorithm works at. Not for: several channels, or
// varying ratios. Chunking does not matter: the same samples in pieces of any size give the same
// output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"

namespace sonogate::audio {

class Resampler {
  public:
    // Equal rates pass samples through untouched. Quality: soxr's "high" (20 bits), linear phase,
    // delay compensated: output sample i stands at time i / out_hz. Cost grows with the output: 1
    // Hz in and 8000 Hz out makes 8000 samples of each. Errors: job_too_large where soxr cannot
    // build the filter.
    static Result<Resampler> create(std::uint32_t in_hz, std::uint32_t out_hz);

    Resampler(Resampler&&) noexcept;
    Resampler& operator=(Resampler&&) noexcept;
    ~Resampler();

    // Feeds `in` and appends what comes out. Any size; feed blocks of thousands, not single
    // samples, for speed. Errors: internal where soxr says so.
    Result<void> push(std::span<const float> in, std::vector<float>& out);

    // The end: appends what the filter still holds. Nothing may be pushed after. In all, about
    // (samples in) × out_hz / in_hz samples come out.
    Result<void> finish(std::vector<float>& out);

  private:
    struct Impl;
    explicit Resampler(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sonogate::audio
