// The verdict: does this clip lie at this offset of this track, or do peaks coincide by chance?
//
// For: catalog/search.hpp, which has a few candidates to judge. Not for: finding candidates.
// Counts the clip's peaks that fall on a peak of the track, at the offset and at others of the same
// track where by assumption they do so by chance, and compares the two as a binomial test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fingerprint/peak.hpp"
#include "fingerprint/track_peaks.hpp"

namespace sonogate::fingerprint {

// How well a clip fits a track at one offset.
struct Alignment {
    double offset_time = 0;        // track time = clip time + offset, in units of Peak::time
    std::uint32_t compared = 0;    // clip peaks that fall inside the track
    std::uint32_t coinciding = 0;  // of those, on a peak of the track
    double chance = 0;             // the share that coincides by chance
    double evidence = 0;           // ln of how unlikely `coinciding` is by chance, at most; ≥ 0
    std::uint32_t first_time = 0;  // clip time of the first and the last coinciding peak
    std::uint32_t last_time = 0;
};

// `offset_time` is a guess to within 1.5 columns and is refined. Clip peaks ascend by time. Where
// the evidence cannot reach what is wanted it may be left at 0, which is quicker.
Alignment align(std::span<const Peak> clip, const TrackPeaks& track, std::int64_t offset_time,
                double wanted_evidence = 0);

// A bound on the probability that a clip whose track is not in the catalog shows this evidence
// somewhere: `places` is the number of (track, offset) that could have been tried. 0 to 1.
double false_positive_bound(double evidence, double places) noexcept;

// The evidence that makes the bound `most`, which is above 0.
double evidence_for(double most, double places) noexcept;

}  // namespace sonogate::fingerprint
