// Generated music: notes with overtones that begin and decay, told by a seed alone.
//
// For: tests of the fingerprint, the catalog, the librarian and the worker.
#pragma once

#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <random>
#include <span>
#include <vector>

#include "dsp/fft.hpp"
#include "fingerprint/fingerprinter.hpp"

namespace sonogate::test {

// std's distributions differ from library to library; the generator does not.
class Random {
  public:
    explicit Random(std::uint32_t seed) : engine_(seed) {}
    double uniform(double from, double to) {
        return from + (to - from) * static_cast<double>(engine_()) / 4294967296.0;
    }
    std::uint32_t below(std::uint32_t end) { return static_cast<std::uint32_t>(engine_()) % end; }
    double normal() {  // Irwin-Hall: close enough for noise
        double sum = -6;
        for (int i = 0; i < 12; ++i) {
            sum += uniform(0, 1);
        }
        return sum;
    }

  private:
    std::mt19937 engine_;
};

inline std::vector<float> music(std::uint32_t seed, double seconds) {
    constexpr double rate_hz = fingerprint::sample_rate_hz;
    std::vector<float> out(static_cast<std::size_t>(seconds * rate_hz));
    Random random(seed);
    for (double at_s = 0; at_s < seconds; at_s += random.uniform(0.03, 0.25)) {
        const double note_hz = 110.0 * std::exp2(random.below(48) / 12.0);
        const double level = random.uniform(0.02, 0.1);
        const double decay_s = random.uniform(0.05, 0.5);
        const auto first = static_cast<std::size_t>(at_s * rate_hz);
        const auto frames = static_cast<std::size_t>(decay_s * 4 * rate_hz);
        for (int overtone = 1; overtone <= 6 && note_hz * overtone < 3900; ++overtone) {
            const double step = 2 * std::numbers::pi * note_hz * overtone / rate_hz;
            const double amplitude = level / overtone * random.uniform(0.3, 1.0);
            for (std::size_t i = 0; i < frames && first + i < out.size(); ++i) {
                const double t = static_cast<double>(i);
                out[first + i] += static_cast<float>(
                    amplitude * std::exp(-t / (decay_s * rate_hz)) * std::sin(step * t));
            }
        }
    }
    return out;
}

inline std::vector<float> noise(std::uint32_t seed, double seconds, double level) {
    std::vector<float> out(static_cast<std::size_t>(seconds * fingerprint::sample_rate_hz));
    Random random(seed);
    for (float& sample : out) {
        sample = static_cast<float>(level * random.normal());
    }
    return out;
}

inline std::vector<float> tone(double hz, double seconds, double level) {
    std::vector<float> out(static_cast<std::size_t>(seconds * fingerprint::sample_rate_hz));
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] =
            static_cast<float>(level * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) /
                                                fingerprint::sample_rate_hz));
    }
    return out;
}

inline std::vector<float> cut(const std::vector<float>& from, double start_s, double seconds) {
    const auto first = static_cast<std::ptrdiff_t>(start_s * fingerprint::sample_rate_hz);
    const auto count = static_cast<std::ptrdiff_t>(seconds * fingerprint::sample_rate_hz);
    assert(first >= 0 && first + count <= static_cast<std::ptrdiff_t>(from.size()));
    return {from.begin() + first, from.begin() + first + count};
}

inline std::vector<float> mixed(std::vector<float> a, const std::vector<float>& b) {
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
        a[i] += b[i];
    }
    return a;
}

inline fingerprint::Fingerprint fingerprint_of(std::span<const float> samples,
                                               fingerprint::Density density) {
    thread_local dsp::RealFft fft(fingerprint::block_frames);
    fingerprint::Fingerprinter chain(fft, density);
    chain.push(samples);
    return chain.finish();
}

}  // namespace sonogate::test
