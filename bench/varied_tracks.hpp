// Synthetic tracks as crowded as real ones: variations of real tracks that none of those matches.
//
// For: benchmarks of large catalogs (bench/identify.cpp). Not for: judging recall by them: no clip
// is ever of one.
// A variation is the whole track transposed by 2 to 4 semitones up or down, tuned a little
// differently, and run 9 to 15 % faster or slower: outside of all ratios that the search tries, so
// that clips of the real track do not match it. What makes posting lists long stays: notes on the
// same grid, rhythms and repeats within one track, peaks a second (peaks that leave the band at one
// end come back at the other).
#pragma once

#include <cstdint>

#include "fingerprint/peak.hpp"

namespace sonogate::bench {

// Another one for each seed; density, level and about the duration are the track's.
fingerprint::Fingerprint vary(const fingerprint::Fingerprint& track, std::uint64_t seed);

}  // namespace sonogate::bench
