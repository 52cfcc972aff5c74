// Judging one candidate: is this clip heard at this offset of this track, at this ratio?
//
// For: the passes of the search (search.cpp, ratio_search.cpp). Not for: what a coincidence tells
// (fingerprint/score.hpp).
#pragma once

#include <cstdint>
#include <vector>

#include "catalog/search.hpp"
#include "fingerprint/track_peaks.hpp"

namespace sonogate::catalog {

// Hypotheses tried at each place: the plain clip; all ratios, each fitted in two dimensions.
inline constexpr double plain_trials = 2;
inline constexpr double ratio_trials = 400;

fingerprint::TrackPeaks peaks_of(const Index::Track& track);

// `scaled` is the clip at that ratio; `peaks` are the track's. `places` is how many offsets and
// ratios could have been tried; a probability above `most` may be told too large.
Match judge(const std::vector<fingerprint::Peak>& scaled, const Index::Track& track,
            const fingerprint::TrackPeaks& peaks, std::int64_t offset, fingerprint::Ratio ratio,
            double places, double most);

bool is_sure(const Match& match, const SearchOptions& options) noexcept;

// One of them has so many votes that a deeper search would find no better one. A few votes may be
// for another edition, or another round of a loop, than the clip is of.
bool is_clear(const std::vector<Match>& matches) noexcept;

}  // namespace sonogate::catalog
