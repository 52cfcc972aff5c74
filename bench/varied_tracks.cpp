#include "bench/varied_tracks.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace sonogate::bench {
namespace {

using fingerprint::Fingerprint;
using fingerprint::Peak;

constexpr double semitones_of_octave = 12;
constexpr double detuned_semitones = 0.1;  // of most recordings, at most about twice that
constexpr double lowest = fingerprint::first_bin * fingerprint::frequency_steps;
constexpr double highest = fingerprint::max_frequency;

// std's distributions differ from library to library; the generator does not.
class Random {
  public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    double uniform(double from, double to) {
        return from + (to - from) * static_cast<double>(engine_() >> 11U) * 0x1p-53;
    }

  private:
    std::mt19937_64 engine_;
};

// How much longer it becomes: as many have more peaks a second than usual as have fewer.
double tempo(Random& random) {
    const double ratio = random.uniform(1.09, 1.15);
    return random.uniform(0, 1) < 0.5 ? ratio : 1 / ratio;
}

double transposed(Random& random) {
    const double semitones = std::floor(random.uniform(2, 5));
    const double sign = random.uniform(0, 1) < 0.5 ? 1 : -1;
    const double off =
        (random.uniform(-1, 1) + random.uniform(-1, 1)) * detuned_semitones;  // a triangle
    return std::exp2((sign * semitones + off) / semitones_of_octave);
}

// Into [lowest, highest], around the ends of which it goes like around an octave.
double wrapped(double frequency) {
    if (frequency > highest) {
        return frequency / highest * lowest;
    }
    return frequency < lowest ? frequency / lowest * highest : frequency;
}

}  // namespace

Fingerprint vary(const Fingerprint& track, std::uint64_t seed) {
    Random random(seed);
    const double longer = tempo(random);
    const double higher = transposed(random);
    Fingerprint out = track;
    out.duration_ms = static_cast<std::uint32_t>(std::llround(track.duration_ms * longer));
    for (Peak& p : out.peaks) {
        p.time = static_cast<std::uint32_t>(p.time * longer);
        const double frequency = wrapped(p.frequency * higher);
        p.frequency = static_cast<std::uint16_t>(std::clamp(frequency, lowest, highest));
    }
    std::sort(out.peaks.begin(), out.peaks.end());
    return out;
}

}  // namespace sonogate::bench
