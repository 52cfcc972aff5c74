// Where in a long clip does a play begin and end, given a moment at which it certainly runs?
//
// For: catalog/timeline.cpp. Not for: whether there is a play at all (score.hpp).
#pragma once

#include <cstdint>
#include <span>

#include "fingerprint/peak.hpp"
#include "fingerprint/ratio.hpp"
#include "fingerprint/track_peaks.hpp"

namespace sonogate::fingerprint {

// Does this peak of the clip fall on a peak of the track that lies there?
bool coincides(const Peak& peak, const TrackPeaks& track, const Fit& fit) noexcept;

// A stretch of a clip, by the times of its first and last peak.
struct Stretch {
    std::uint32_t first_time = 0;
    std::uint32_t last_time = 0;
};

// How far the play that fills `known` reaches beyond it, to the left and to the right, inside
// `clip`, whose peaks ascend by time and are not scaled. `fit` holds in all of it.
Stretch extent_of(std::span<const Peak> clip, const TrackPeaks& track, const Fit& fit,
                  Stretch known);

}  // namespace sonogate::fingerprint
