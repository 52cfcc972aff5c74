// Third stage: of the maxima around each moment, the ones that stand out most.
//
// For: bounding what is stored and asked. Not for: thresholds; quiet music has as many peaks.
// A maximum is kept when fewer than `limit` stand out more within half a second on either side.
// That depends on the maxima alone and not on where seconds begin, so a clip keeps what the track
// kept, wherever it was cut. Ties go to the earlier, then to the lower one.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "fingerprint/local_maxima.hpp"

namespace sonogate::fingerprint {

// Any two maxima at most this far apart compete.
inline constexpr std::uint32_t rival_columns = 31;

class Strongest {
  public:
    explicit Strongest(std::size_t limit) noexcept : limit_(limit) {}

    // `m.column` never falls from call to call. Appends what is decided by now.
    void push(const Maximum& m, std::vector<Peak>& out);

    // The end: decides about the rest. Nothing may be pushed after.
    void finish(std::vector<Peak>& out);

  private:
    struct Entry {
        Maximum maximum;
        std::size_t stronger = 0;
    };
    void decide_before(std::uint32_t column, std::vector<Peak>& out);

    std::size_t limit_;
    std::deque<Entry> entries_;  // those that may still be a rival of what comes
};

}  // namespace sonogate::fingerprint
