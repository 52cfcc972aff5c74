// Second stage: columns in, local maxima of the log power out, with how far each stands out.
//
// For: Strongest. Not for: deciding which maxima are worth keeping.
// A maximum is the largest of the 21 bins by 15 columns around it. It is known 7 columns later;
// no column is looked at again after 15.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fingerprint/columns.hpp"

namespace sonogate::fingerprint {

inline constexpr std::size_t reach_bins = 10;
inline constexpr std::uint32_t reach_columns = 7;

struct Maximum {
    std::uint32_t column = 0;  // where it was found, before refinement
    Peak peak;                 // refined; strength as it will be stored
    float salience = 0;        // log2 units: what maxima are ranked by
};

class LocalMaxima {
  public:
    // Appends the maxima of the column 7 before this one, in order of frequency.
    void push(const Column& column, std::vector<Maximum>& out);

    // The end: appends those of the last 7 columns. Nothing may be pushed after.
    void finish(std::vector<Maximum>& out);

    // The largest level of any bin but the lowest three, peaks or not.
    float loudest_log2() const noexcept { return loudest_; }

  private:
    static constexpr std::size_t span_columns = 2 * reach_columns + 1;
    static constexpr std::size_t ring_columns = 16;  // a power of two of at least span_columns
    static constexpr std::size_t pad_bins = 32;

    // One column, and what was found out about it when it came.
    struct Row {
        alignas(64) std::array<float, row_bins + pad_bins> level;    // padded with the floor
        alignas(64) std::array<float, row_bins + pad_bins> maximum;  // of level[i … i + 20]
        std::array<std::uint16_t, row_bins / reach_bins + 2> candidates;
        std::size_t candidate_count;
    };

    const Row& row(std::uint32_t column) const noexcept { return rows_[column % ring_columns]; }
    void find_candidates(Row& r) noexcept;
    void settle(std::uint32_t column, std::vector<Maximum>& out);
    bool is_maximum(std::uint32_t column, std::size_t bin) const noexcept;
    float neighbourhood_mean(std::uint32_t column, std::size_t bin) const noexcept;
    Maximum refine(std::uint32_t column, std::size_t bin) const noexcept;

    std::vector<Row> rows_ = std::vector<Row>(ring_columns);
    alignas(64) Column slow_mean_{};
    std::uint32_t columns_ = 0;  // pushed
    float loudest_ = floor_log2;
};

}  // namespace sonogate::fingerprint
