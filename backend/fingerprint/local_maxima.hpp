// Second stage: columns in, local maxima of the log power out, with how far each stands out.
//
// For: Strongest. Not for: deciding which maxima are worth keeping.
// A maximum is the largest of the bins and columns within its reach. It is known `reach.columns`
// later; no column is looked at again after 15.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fingerprint/columns.hpp"

namespace sonogate::fingerprint {

// How far around a maximum nothing is larger. A track's peaks are few and stand alone; a clip's
// may be neighbours of noise that is louder.
struct Reach {
    std::size_t bins = 0;
    std::uint32_t columns = 0;
};
constexpr Reach reach_of(Density density) noexcept {
    return density == Density::track ? Reach{10, 7} : Reach{5, 3};
}

struct Maximum {
    std::uint32_t column = 0;  // where it was found, before refinement
    Peak peak;                 // refined; strength as it will be stored
    float salience = 0;        // log2 units: what maxima are ranked by
};

class LocalMaxima {
  public:
    explicit LocalMaxima(Reach reach) noexcept : reach_(reach) {}

    // Appends the maxima of the column `reach.columns` before this one, in order of frequency.
    void push(const Column& column, std::vector<Maximum>& out);

    // The end: appends those of the last few columns. Nothing may be pushed after.
    void finish(std::vector<Maximum>& out);

    // The largest level of any bin but the lowest three, peaks or not.
    float loudest_log2() const noexcept { return loudest_; }

  private:
    static constexpr std::size_t ring_columns = 16;  // a power of two above 2 * reach.columns
    static constexpr std::size_t pad_bins = 32;
    static constexpr std::size_t least_reach_bins = 5;

    // One column, and what was found out about it when it came.
    struct Row {
        alignas(64) std::array<float, row_bins + pad_bins> level;    // padded with the floor
        alignas(64) std::array<float, row_bins + pad_bins> maximum;  // of level[i … i + 2 * reach]
        std::array<std::uint16_t, row_bins / least_reach_bins + 2> candidates;
        std::size_t candidate_count;
    };

    const Row& row(std::uint32_t column) const noexcept { return rows_[column % ring_columns]; }
    void find_candidates(Row& r) noexcept;
    void settle(std::uint32_t column, std::vector<Maximum>& out);
    bool is_maximum(std::uint32_t column, std::size_t bin) const noexcept;
    float neighbourhood_mean(std::uint32_t column, std::size_t bin) const noexcept;
    Maximum refine(std::uint32_t column, std::size_t bin) const noexcept;

    Reach reach_;
    std::vector<Row> rows_ = std::vector<Row>(ring_columns);
    alignas(64) Column slow_mean_{};
    std::uint32_t columns_ = 0;  // pushed
    float loudest_ = floor_log2;
};

}  // namespace sonogate::fingerprint
