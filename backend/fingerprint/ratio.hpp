// Clips that run faster or slower than their track, or sound higher or lower.
//
// For: the search, which tries ratios where the plain clip finds nothing. Not for: audio: only the
// coordinates of peaks are scaled, nothing is transformed again.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fingerprint/peak.hpp"
#include "fingerprint/track_peaks.hpp"

namespace sonogate::fingerprint {

struct Ratio {
    double tempo = 1;  // track time that passes in one unit of clip time
    double pitch = 1;  // clip frequency over track frequency

    friend bool operator==(const Ratio&, const Ratio&) = default;
};

// The clip's peaks where the track has them: times × tempo, frequencies ÷ pitch. Ascending by time;
// what leaves the band is left out.
std::vector<Peak> at_ratio(std::span<const Peak> clip, Ratio ratio);

// What is tried: speed (both alike), tempo and pitch alone, in steps so fine that the nearest one
// lets landmarks match. 1 is not among them.
std::span<const Ratio> ratio_grid();

struct Fit {
    Ratio ratio;
    double offset_time = 0;  // track time = clip time × tempo + offset, in units of Peak::time
};

// The ratio and offset near these at which most peaks coincide. `clip` is not scaled, and as short
// as the guess is good: over all of it the guess is wrong by 8 columns at most.
Fit fit_ratio(std::span<const Peak> clip, const TrackPeaks& track, Fit guess);

}  // namespace sonogate::fingerprint
