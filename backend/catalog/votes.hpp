// Which (track, offset) do many landmarks of a clip agree on?
//
// For: catalog/search.hpp. Not for: believing it: what is told here is judged peak by peak.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "catalog/index.hpp"
#include "fingerprint/landmarks.hpp"

namespace sonogate::catalog {

struct Candidate {
    std::uint32_t track = 0;  // in Index::tracks()
    std::int32_t offset = 0;  // columns from clip to track
    std::uint32_t pairs = 0;  // that agree
    friend auto operator<=>(const Candidate&, const Candidate&) = default;
};

// Buffers that are reused from count to count. Thread: one at a time.
class Votes {
  public:
    // The `most` offsets that most pairs agree on, most first. Memory: 12 bytes a posting found.
    std::vector<Candidate> count(const Index& index, std::span<const fingerprint::Query> queries,
                                 std::size_t most);

  private:
    struct Hit {
        std::uint32_t track = 0;
        std::int32_t offset = 0;
        std::uint32_t pair = 0;
        friend auto operator<=>(const Hit&, const Hit&) = default;
    };

    void look_up(const Index& index, std::span<const fingerprint::Query> queries);
    void drop_lonely_hits();
    std::vector<Candidate> best_offsets(std::size_t most);

    std::vector<Hit> hits_;
    std::vector<std::uint8_t> counters_;
    std::vector<Candidate> offsets_;
};

}  // namespace sonogate::catalog
