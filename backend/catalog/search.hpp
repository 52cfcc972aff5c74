// Finding where in the catalog a clip comes from.
//
// For: the librarian's search threads; one Searcher each. Not for: who may ask, titles, JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "catalog/index.hpp"
#include "catalog/votes.hpp"
#include "fingerprint/landmarks.hpp"
#include "fingerprint/peak.hpp"
#include "fingerprint/ratio.hpp"
#include "fingerprint/score.hpp"

namespace sonogate::catalog {

// What may well be heard, from what was heard before.
struct Hypothesis {
    std::uint32_t track = 0;  // in Index::tracks()
    fingerprint::Fit fit;     // from the clip's clock to the track's
};

// About how many postings a search looks at, whatever the catalog's size. Where there are more than
// `most`, the search looks at the `first` of them, and what many pairs agree on is enough; else at
// `most`.
struct Budget {
    struct Hits {
        std::size_t first = 0;
        std::size_t most = 0;
    };
    Hits stretch = {300'000, 3'000'000};  // of 20 s of the plain clip
    Hits ratio = {60'000, 250'000};       // of each ratio that is tried
};

struct SearchOptions {
    std::uint32_t limit = 5;
    double max_false_positive = 1e-6;
    bool multi = false;  // every play in the clip, not the best of each track
    Budget budget = {};
    // Tried beside the search: a few, so that little evidence is enough for each. Borrowed.
    std::span<const Hypothesis> expected = {};
};

struct Match {
    Index::Row row = 0;
    std::uint32_t track = 0;           // in Index::tracks()
    fingerprint::Alignment alignment;  // first_time and last_time are the clip's own, unscaled
    fingerprint::Ratio ratio;
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
    std::uint64_t postings = 0;  // looked at
};

// Buffers that are reused from search to search. Thread: one at a time.
class Searcher {
  public:
    // `clip` may be of either density; clips are denser and found better.
    SearchResult search(const Index& index, const fingerprint::Fingerprint& clip,
                        const SearchOptions& options);

  private:
    using Clip = fingerprint::Fingerprint;

    // How much of the budget is spent where it does not reach for everything.
    enum class Depth : std::uint8_t { first, most };

    // What a search works on; passes add to `sure`.
    struct Work {
        const Index& index;
        const Clip& clip;
        const SearchOptions& options;
        double places = 1;       // (track, offset) that could be tried
        bool nominated = false;  // there was at least one candidate
        Depth depth = Depth::first;
        bool left_out = false;  // postings, at that depth
        std::vector<Match> sure;
    };

    std::vector<Candidate> count(Work& work, std::span<const fingerprint::Query> queries,
                                 std::size_t most, Budget::Hits budget);
    void search_deep(Work& work, fingerprint::Ratio ratio, double trials,
                     std::span<const fingerprint::Query> queries);
    void search_at(Work& work, fingerprint::Ratio ratio, double trials,
                   std::span<const fingerprint::Query> queries);
    static void judge_expected(Work& work);
    void search_ratios(Work& work);
    std::vector<fingerprint::Ratio> find_ratios(Work& work,
                                                std::span<const fingerprint::Peak> stretch);
    std::vector<Match> try_ratios(Work& work, std::span<const fingerprint::Peak> few);

    Votes votes_;
};

}  // namespace sonogate::catalog
