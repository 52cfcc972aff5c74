// Which (track, offset) do many landmarks of a clip agree on?
//
// For: catalog/search.hpp. Not for: believing it: what is told here is judged peak by peak.
#pragma once

#include <array>
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
    // Looks at queries, which are borrowed until the last count() of them.
    void prepare(const Index& index, std::span<const fingerprint::Query> queries);
    // About how many postings there are for them.
    double hits() const noexcept { return all_hits_; }

    // The `most` offsets that most pairs agree on, most first. Where there are more postings than
    // `most_hits`, only those queries are asked that promise most for what they cost: about so many
    // postings bound time and memory (16 bytes each), whatever the catalog's size.
    std::vector<Candidate> count(const Index& index, std::size_t most, std::size_t most_hits);
    // How many postings all counts looked at.
    std::uint64_t looked_at() const noexcept { return looked_at_; }

  private:
    // A place minus the column of the query that found it: the same for all of one offset. Told
    // modulo 2^32: a clip may begin before the axis does.
    struct Hit {
        std::uint32_t diagonal = 0;
        std::uint32_t query = 0;
        friend auto operator<=>(const Hit&, const Hit&) = default;
    };

    std::size_t last_rank(std::size_t most_hits) const noexcept;
    void look_up(const Index& index, std::size_t last_rank);
    template <typename CellOf>
    void drop_lonely_hits(std::size_t cells, CellOf cell_of);
    void count_offsets(const Index& index);
    void count_diagonal(const Index& index, std::span<Hit> hits);
    std::vector<Candidate> best_offsets(std::size_t most) const;

    static constexpr std::size_t ranks = 128;
    std::span<const fingerprint::Query> queries_;
    std::vector<std::uint8_t> rank_of_;    // of each query; what promises most has the lowest
    std::array<double, ranks> hits_of_{};  // of all queries of a rank
    double all_hits_ = 0;
    std::uint64_t looked_at_ = 0;
    std::vector<Hit> hits_;
    std::vector<std::uint8_t> counters_;
    std::vector<Candidate> offsets_;
};

}  // namespace sonogate::catalog
