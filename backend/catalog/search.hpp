// Finding where in the catalog a clip comes from.
//
// For: the librarian's search threads; one Searcher each. Not for: who may ask, titles, JSON.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "catalog/index.hpp"
#include "fingerprint/landmarks.hpp"
#include "fingerprint/peak.hpp"
#include "fingerprint/score.hpp"

namespace sonogate::catalog {

struct SearchOptions {
    std::uint32_t limit = 5;
    double max_false_positive = 1e-6;
    bool multi = false;  // every play in the clip, not the best of each track
};

struct Match {
    Index::Row row = 0;
    fingerprint::Alignment alignment;
    double false_positive_probability = 1;
    std::uint32_t aligned_hashes = 0;  // pairs of the clip found at this offset
};

// Why there is no match.
enum class Reason : std::uint8_t {
    none = 0,
    silence,         // nothing above fingerprint::silence_dbfs
    too_short,       // less than fingerprint::min_duration_ms
    catalog_empty,   // nothing to compare with
    no_candidates,   // nothing that could be told apart, or no offset at which keys agree
    below_threshold  // candidates, none of them sure enough
};
std::string_view name_of(Reason reason) noexcept;  // empty for `none`

struct SearchResult {
    Reason reason = Reason::none;
    std::vector<Match> matches;  // best first
    std::uint32_t query_hashes = 0;
};

// Buffers that are reused from search to search. Thread: one at a time.
class Searcher {
  public:
    // `clip` may be of either density; clips are denser and found better.
    SearchResult search(const Index& index, const fingerprint::Fingerprint& clip,
                        const SearchOptions& options);

  private:
    struct Hit {
        std::uint32_t track = 0;  // in Index::tracks()
        std::int32_t offset = 0;  // columns from clip to track
        std::uint32_t pair = 0;
        friend auto operator<=>(const Hit&, const Hit&) = default;
    };
    struct Candidate {
        std::uint32_t track = 0;
        std::int32_t offset = 0;
        std::uint32_t pairs = 0;
        friend auto operator<=>(const Candidate&, const Candidate&) = default;
    };

    void collect_candidates(const Index& index, const std::vector<fingerprint::Query>& queries);
    void look_up(const Index& index, const fingerprint::Query* begin,
                 const fingerprint::Query* end);
    void drop_lonely_hits();
    void take_best_offsets();
    std::vector<Match> judge(const Index& index, const fingerprint::Fingerprint& clip,
                             const SearchOptions& options);

    std::vector<Hit> hits_;
    std::vector<std::uint8_t> counters_;
    std::vector<Candidate> offsets_;     // of one stretch of the clip
    std::vector<Candidate> candidates_;  // of the whole clip
};

}  // namespace sonogate::catalog
