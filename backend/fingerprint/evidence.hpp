// How much coincidences of peaks tell: a weight for each, and a bound for their sum.
//
// For: score.cpp. Not for: counting them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sonogate::fingerprint {

// The weight of a coincidence, in steps: the log likelihood ratio of "the same peak" to "chance".
// 0 tells nothing.
inline constexpr std::size_t max_weight = 17;
inline constexpr double nats_per_weight = 0.25;

// Coincidences of one moment are one event, of the weight of the first few of them together: the
// overtones of one note coincide all at once, or not at all.
inline constexpr std::size_t most_of_a_moment = 3;
inline constexpr std::size_t event_weights = most_of_a_moment * max_weight + 1;

// Coincidences are looked for this far away, in units of Peak.
inline constexpr std::int32_t time_tolerance = 5;       // 1.25 columns
inline constexpr std::int32_t frequency_tolerance = 6;  // 0.75 bins

// How far apart the two peaks are (within the tolerances), and the strength of the clip's.
std::size_t weight_of(std::int32_t late, std::int32_t apart, std::uint8_t strength) noexcept;

// Numbers of events by weight.
using ByWeight = std::array<double, event_weights>;

// What chance is seen to give in all corpora: sums to 1.
const ByWeight& usual_shape() noexcept;

// -ln of a bound on the probability that chance gives a sum of weights of at least `score`, where
// it gives independent events of which `expected` are expected by weight.
double surprise(std::size_t score, const ByWeight& expected) noexcept;

}  // namespace sonogate::fingerprint
