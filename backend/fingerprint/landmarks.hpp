// Pairs of peaks as keys that can be looked up: what the index is made of.
//
// For: the catalog's index and its queries, which derive them from peaks whenever they need them.
// Not for: storage (packing.hpp keeps the peaks) nor for the verdict (score.hpp).
//
//   key, 22 bits:   21 … 13 bin of the first peak   12 … 6 bins to the second + 63   5 … 0 columns
//
// The second peak lies 2 to 63 columns later and at most 63 bins higher or lower.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fingerprint/peak.hpp"

namespace sonogate::fingerprint {

inline constexpr unsigned key_bits = 22;

struct Landmark {
    std::uint32_t key = 0;
    std::uint32_t column = 0;  // of the first peak, rounded

    friend bool operator==(const Landmark&, const Landmark&) = default;
};

// Of each peak, the pairs with the next few. `peaks` ascend by time; so do the columns returned.
std::vector<Landmark> track_landmarks(std::span<const Peak> peaks);

// The most that Query::worth can be.
inline constexpr std::int32_t max_worth = 24;

// A key that a clip asks for. Peaks of the clip are a little off: where a coordinate lies near the
// edge between two values both are asked, so one pair makes one to eight queries.
struct Query {
    std::uint32_t key = 0;
    std::uint32_t column = 0;  // of the first peak in the clip, rounded
    std::uint32_t pair = 0;    // which pair of the clip
    // How likely a track that is heard has it there, as 4 × log2 and up to a constant: clear peaks
    // are found again, and seldom on the other side of an edge.
    std::int32_t worth = 0;
};

struct Queries {
    std::vector<Query> queries;
    std::uint32_t pairs = 0;
};

// Of each peak, the pairs with all that a track could have paired it with, at most `fan_out` of
// them.
Queries clip_queries(std::span<const Peak> peaks, std::size_t fan_out = 24);

}  // namespace sonogate::fingerprint
