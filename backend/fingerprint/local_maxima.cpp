#include "fingerprint/local_maxima.hpp"

#include <algorithm>
#include <cmath>

namespace sonogate::fingerprint {
namespace {

constexpr std::size_t last_bin = row_bins - 3;  // its neighbours have neighbours
constexpr float quietest_log2 = full_scale_log2 - 110.0F / 3.0103F;  // -110 dBFS: rounding noise
constexpr float slow_columns = 125.0F;                               // two seconds
constexpr float slow_weight = 0.3F;
constexpr float strength_per_log2 = 1.5F;

// The top of the parabola through three equidistant values, from the middle one; |result| ≤ 0.5.
float parabola_top(float left, float middle, float right) noexcept {
    const float bend = left - 2.0F * middle + right;
    return bend < 0.0F ? std::clamp(0.5F * (left - right) / bend, -0.5F, 0.5F) : 0.0F;
}

// to[i] = max(from[i], from[i + step]): the window doubles with each call, so that a maximum over
// 21 bins takes five passes, whatever the data. Written so that compilers vectorise it.
void widen(const float* __restrict from, float* __restrict to, std::size_t step,
           std::size_t size) noexcept {
    for (std::size_t i = 0; i < size; ++i) {
        const float a = from[i];
        const float b = from[i + step];
        to[i] = a > b ? a : b;
    }
}

}  // namespace

void LocalMaxima::push(const Column& column, std::vector<Maximum>& out) {
    Row& r = rows_[columns_ % ring_columns];
    std::copy(column.begin(), column.end(), r.level.begin());
    std::fill(r.level.begin() + row_bins, r.level.end(), floor_log2);
    const float weight = 1.0F / std::min(static_cast<float>(columns_) + 1.0F, slow_columns);
    for (std::size_t i = 0; i < row_bins; ++i) {
        slow_mean_[i] += weight * (column[i] - slow_mean_[i]);
    }
    find_candidates(r);
    ++columns_;
    if (columns_ > reach_.columns) {
        settle(columns_ - 1 - reach_.columns, out);
    }
}

void LocalMaxima::finish(std::vector<Maximum>& out) {
    const std::uint32_t first = columns_ > reach_.columns ? columns_ - reach_.columns : 0;
    for (std::uint32_t column = first; column < columns_; ++column) {
        settle(column, out);
    }
}

// The bins that are the largest of the 21 around them in their own column: about twenty, and the
// only ones that need a look at other columns.
void LocalMaxima::find_candidates(Row& r) noexcept {
    alignas(64) float a[row_bins + pad_bins];
    alignas(64) float b[row_bins + pad_bins];
    const std::size_t window_bins = 2 * reach_.bins + 1;
    const float* from = r.level.data();
    std::size_t width = 1;  // of the windows in `from`
    std::size_t size = row_bins + pad_bins;
    // cppcheck-suppress legacyUninitvar ; only its address is taken
    for (float* to = a; 2 * width <= window_bins; to = to == a ? b : a) {
        size -= width;
        widen(from, to, width, size);
        from = to;
        width *= 2;
    }
    widen(from, r.maximum.data(), window_bins - width, row_bins);

    const float* const level = r.level.data() + reach_.bins;
    const float* const around = r.maximum.data();
    std::size_t count = 0;
    const std::size_t begin = first_bin - reach_.bins;
    const std::size_t end = last_bin + 1 - reach_.bins;
    for (std::size_t i = begin; i < end; ++i) {
        if (level[i] >= around[i] && level[i] > quietest_log2) [[unlikely]] {
            // Of equal neighbours the first one counts, so that there is room for all.
            if (count == 0 || r.candidates[count - 1] + reach_.bins < i + reach_.bins) {
                r.candidates[count++] = static_cast<std::uint16_t>(i + reach_.bins);
            }
        }
    }
    r.candidate_count = count;
    // A constant offset fills bins 0 and 1 and, with this window, no other.
    for (std::size_t i = 3; i < row_bins; i += window_bins) {
        loudest_ = std::max(loudest_, r.maximum[i]);
    }
}

void LocalMaxima::settle(std::uint32_t column, std::vector<Maximum>& out) {
    if (column == 0 || column + 1 >= columns_) {
        return;  // no neighbour on one side: not a maximum, only an end
    }
    const Row& r = row(column);
    for (std::size_t i = 0; i < r.candidate_count; ++i) {
        if (is_maximum(column, r.candidates[i])) {
            out.push_back(refine(column, r.candidates[i]));
        }
    }
}

bool LocalMaxima::is_maximum(std::uint32_t column, std::size_t bin) const noexcept {
    const float level = row(column).level[bin];
    const std::uint32_t first = column - std::min<std::uint32_t>(column, reach_.columns);
    const std::uint32_t end = std::min<std::uint32_t>(column + reach_.columns + 1, columns_);
    for (std::uint32_t c = first; c < column; ++c) {
        if (row(c).maximum[bin - reach_.bins] >= level) {
            return false;
        }
    }
    for (std::uint32_t c = column + 1; c < end; ++c) {
        if (row(c).maximum[bin - reach_.bins] > level) {
            return false;
        }
    }
    return true;
}

float LocalMaxima::neighbourhood_mean(std::uint32_t column, std::size_t bin) const noexcept {
    const std::uint32_t first = column - std::min<std::uint32_t>(column, reach_.columns);
    const std::uint32_t end = std::min<std::uint32_t>(column + reach_.columns + 1, columns_);
    const std::size_t window_bins = 2 * reach_.bins + 1;
    const std::size_t left = bin - reach_.bins;
    const std::size_t bins = std::min(window_bins, row_bins - left);
    float sum = 0;
    for (std::uint32_t c = first; c < end; ++c) {
        const float* const level = row(c).level.data() + left;
        // Four sums side by side: one chain of additions would wait on itself.
        float lane[4] = {0, 0, 0, 0};
        std::size_t i = 0;
        for (; i + 4 <= bins; i += 4) {
            for (std::size_t k = 0; k < 4; ++k) {
                lane[k] += level[i + k];
            }
        }
        for (; i < bins; ++i) {
            lane[0] += level[i];
        }
        sum += (lane[0] + lane[1]) + (lane[2] + lane[3]);
    }
    return sum / static_cast<float>((end - first) * bins);
}

Maximum LocalMaxima::refine(std::uint32_t column, std::size_t bin) const noexcept {
    const Row& here = row(column);
    const float level = here.level[bin];
    const float bins =
        static_cast<float>(bin) + parabola_top(here.level[bin - 1], level, here.level[bin + 1]);
    const auto columns = static_cast<float>(
        parabola_top(row(column - 1).level[bin], level, row(column + 1).level[bin]));
    const float salience =
        level - neighbourhood_mean(column, bin) + slow_weight * (level - slow_mean_[bin]);
    Maximum m;
    m.column = column;
    m.salience = salience;
    // The shift is at most half a column, so the sum never goes below 0: column is at least 1.
    m.peak.time = static_cast<std::uint32_t>(static_cast<std::int64_t>(column) * time_steps +
                                             std::lround(columns * time_steps));
    m.peak.frequency = static_cast<std::uint16_t>(std::lround(bins * frequency_steps));
    m.peak.strength = static_cast<std::uint8_t>(
        std::clamp(std::lround(salience * strength_per_log2), 0L, long{max_strength}));
    return m;
}

}  // namespace sonogate::fingerprint
