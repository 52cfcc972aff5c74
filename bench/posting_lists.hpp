// How long posting lists are: what the cost of a search depends on.
//
// For: holding varied tracks (varied_tracks.hpp) against real ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "fingerprint/peak.hpp"

namespace sonogate::bench {

inline constexpr std::array told_shares = {0.1, 0.25, 0.5, 0.75, 0.9, 0.99};

// Of each posting of these tracks the length of the list that it is in, ascending: a key that is
// frequent in tracks is asked for often, so lists count as often as they are long.
std::vector<std::uint32_t> list_lengths(std::span<const fingerprint::Fingerprint> tracks);

std::uint32_t quantile(std::span<const std::uint32_t> ascending, double share);

double hashes_per_s(std::span<const fingerprint::Fingerprint> tracks);

}  // namespace sonogate::bench
