#include "fingerprint/track_peaks.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <utility>

namespace sonogate::fingerprint {

TrackPeaks::TrackPeaks(Fingerprint fingerprint)
    : fingerprint_(std::move(fingerprint)),
      end_time_(fingerprint_.peaks.empty() ? 1 : fingerprint_.peaks.back().time + 1) {
    const auto columns = static_cast<std::size_t>(end_time_ / time_steps) + 2;
    first_of_column_.resize(columns, 0);
    std::size_t column = 0;
    for (std::size_t i = 0; i < fingerprint_.peaks.size(); ++i) {
        const std::size_t mine = fingerprint_.peaks[i].time / time_steps;
        while (column <= mine) {
            first_of_column_[column++] = static_cast<std::uint32_t>(i);
        }
    }
    while (column < columns) {
        first_of_column_[column++] = static_cast<std::uint32_t>(fingerprint_.peaks.size());
    }
}

const Peak* TrackPeaks::near(std::int64_t time, std::int32_t frequency, std::int64_t within_time,
                             std::int32_t within_frequency) const noexcept {
    const std::int64_t first = std::max<std::int64_t>(time - within_time, 0);
    const std::int64_t last = time + within_time;
    if (last < 0 || first >= end_time_) {
        return nullptr;
    }
    const Peak* best = nullptr;
    std::int64_t best_distance = within_time + within_frequency + 1;
    const std::vector<Peak>& all = fingerprint_.peaks;
    for (std::size_t i = first_of_column_[static_cast<std::size_t>(first / time_steps)];
         i < all.size() && all[i].time <= last; ++i) {
        const std::int64_t late = std::abs(static_cast<std::int64_t>(all[i].time) - time);
        const std::int32_t apart = std::abs(std::int32_t{all[i].frequency} - frequency);
        if (late <= within_time && apart <= within_frequency && late + apart < best_distance) {
            best = &all[i];
            best_distance = late + apart;
        }
    }
    return best;
}

}  // namespace sonogate::fingerprint
