// The coordinates that everything about fingerprints is written in, and a spectral peak in them.
//
// For: every stage of the fingerprint, the store and the search. Not for: analyze's sinusoids
// (dsp/peaks.hpp), which are measured, not merely found again.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sonogate::fingerprint {

inline constexpr std::uint32_t sample_rate_hz = 8000;  // mono
inline constexpr std::size_t block_frames = 1024;      // Hann
inline constexpr std::size_t hop_frames = 128;         // 16 ms: one column
inline constexpr std::size_t row_bins = 512;           // of the 513 bins; 7.8125 Hz each
inline constexpr std::size_t first_bin = 25;           // 195 Hz: below are hum and rumble

// A column is the log power spectrum of one block. Peaks lie between columns and between bins.
inline constexpr std::uint32_t time_steps = 4;       // units of Peak::time to a column: 4 ms
inline constexpr std::uint32_t frequency_steps = 8;  // units of Peak::frequency to a bin: 1 Hz
inline constexpr double seconds_per_time_unit =
    static_cast<double>(hop_frames) / sample_rate_hz / time_steps;

inline constexpr std::uint16_t max_frequency = row_bins * frequency_steps - 1;
inline constexpr std::uint8_t max_strength = 15;

struct Peak {
    std::uint32_t time = 0;       // 1/4 columns after the first column's middle
    std::uint16_t frequency = 0;  // 1/8 bins, at most max_frequency
    std::uint8_t strength = 0;    // how far it stands out, 0 to 15 in steps of about 2 dB

    friend auto operator<=>(const Peak&, const Peak&) = default;
};

// How many peaks a second are kept: few of what is stored, more of what is asked.
enum class Density : std::uint8_t { track = 0, clip = 1 };

constexpr std::size_t peaks_per_second(Density density) noexcept {
    return density == Density::track ? 30 : 100;
}

struct Fingerprint {
    Density density = Density::track;
    std::uint32_t duration_ms = 0;
    float loudest_dbfs = -200.0F;  // largest bin above 23 Hz as a sine's level; 0 = full scale
    std::vector<Peak> peaks;       // ascending by time, then frequency

    friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

// Below this level nothing counts as sound: the noise of 16-bit samples lies 20 dB lower.
inline constexpr float silence_dbfs = -80.0F;

// Shorter than this there is too little to tell music apart.
inline constexpr std::uint32_t min_duration_ms = 1000;

constexpr bool is_silent(const Fingerprint& f) noexcept {
    return f.loudest_dbfs < silence_dbfs;
}
constexpr bool is_too_short(const Fingerprint& f) noexcept {
    return f.duration_ms < min_duration_ms;
}

}  // namespace sonogate::fingerprint
