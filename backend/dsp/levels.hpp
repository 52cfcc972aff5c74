// Levels of a signal in pieces: peak, RMS, offset, clipping, silence; and zero crossings of one
// channel.
//
// For: `levels` and `zero_crossing_rate` of an analysis. Not for: loudness as heard (EBU R 128).
// Chunking does not matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sonogate::dsp {

inline constexpr double floor_db = -200.0;

// 20·log10(amplitude), not below the floor.
double decibels(double amplitude) noexcept;
// 10·log10(power), not below the floor.
double power_decibels(double power) noexcept;

struct LevelFigures {
    double peak_dbfs = floor_db;
    double rms_dbfs = floor_db;
    double crest_db = 0.0;
    double dc_offset = 0.0;
    std::uint64_t clipped_samples = 0;
    double silence_ratio = 0.0;
};

// Over all samples of all channels. Silence is counted in segments of 20 ms.
class Levels {
  public:
    Levels(std::uint32_t sample_rate_hz, std::uint32_t channels) noexcept;

    // Whole frames, finite samples.
    void push(std::span<const float> interleaved) noexcept;
    LevelFigures figures() const noexcept;

    static constexpr float clip_level = 32767.0F / 32768.0F;  // the largest positive 16-bit sample
    static constexpr double silence_power = 1e-6;             // −60 dBFS
    static constexpr double segment_s = 0.02;

  private:
    struct Sums {
        double sum = 0.0;
        double squares = 0.0;
    };
    void measure(std::span<const float> samples) noexcept;
    void end_segment() noexcept;

    std::uint64_t segment_samples_;
    Sums segment_;
    std::uint64_t in_segment_ = 0;
    Sums total_;
    std::uint64_t samples_ = 0;
    std::uint64_t silent_samples_ = 0;
    std::uint64_t clipped_samples_ = 0;
    float peak_ = 0.0F;
};

// Changes of sign over pairs of neighbours; zero counts as positive, −0 as negative.
class ZeroCrossings {
  public:
    void push(std::span<const float> samples) noexcept;
    double rate() const noexcept {
        return samples_ > 1 ? static_cast<double>(count_) / static_cast<double>(samples_ - 1) : 0.0;
    }

  private:
    std::uint64_t samples_ = 0;
    std::uint64_t count_ = 0;
    float last_ = 0.0F;
};

}  // namespace sonogate::dsp
