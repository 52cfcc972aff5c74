// A track's peaks, found by time and frequency.
//
// For: the verdict (score.hpp) and the search for a ratio (ratio.hpp). Not for: the index.
#pragma once

#include <cstdint>
#include <vector>

#include "fingerprint/peak.hpp"

namespace sonogate::fingerprint {

// Owns the peaks; 4 bytes a column beside them.
class TrackPeaks {
  public:
    explicit TrackPeaks(Fingerprint fingerprint);

    const std::vector<Peak>& peaks() const noexcept { return fingerprint_.peaks; }
    std::int64_t end_time() const noexcept { return end_time_; }  // in units of Peak::time

    // The peak nearest to (time, frequency), steps of both counted alike, of those within both
    // tolerances; else nullptr.
    const Peak* near(std::int64_t time, std::int32_t frequency, std::int64_t within_time,
                     std::int32_t within_frequency) const noexcept;

  private:
    Fingerprint fingerprint_;
    std::int64_t end_time_;
    std::vector<std::uint32_t> first_of_column_;
};

}  // namespace sonogate::fingerprint
