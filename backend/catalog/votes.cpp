#include "catalog/votes.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <numeric>

namespace sonogate::catalog {
namespace {

using fingerprint::Query;

constexpr std::uint32_t min_votes = 3;

// What a query promises for each posting, as 4 × log2. A frequent key is also found more often
// where it is true: measured, as the 0.45th power of its list's length.
constexpr double cost_of_length = 4 * 0.55;

// Queries whose lists begin to be fetched while those before them are read.
constexpr std::size_t fetched_ahead = 12;

}  // namespace

void Votes::prepare(const Index& index, std::span<const Query> queries) {
    queries_ = queries;
    rank_of_.resize(queries.size());
    hits_of_.fill(0);
    for (std::size_t i = 0; i < queries.size(); ++i) {
        if (i + fetched_ahead < queries.size()) {
            index.prefetch_length(queries[i + fetched_ahead].key);
        }
        const double length = index.list_length(queries[i].key);
        const double promise = queries[i].worth - cost_of_length * std::log2(std::max(length, 1.0));
        const double rank = std::clamp(fingerprint::max_worth - promise, 0.0, ranks - 1.0);
        rank_of_[i] = static_cast<std::uint8_t>(rank);
        hits_of_[rank_of_[i]] += length;
    }
    all_hits_ = std::accumulate(hits_of_.begin(), hits_of_.end(), 0.0);
}

std::vector<Candidate> Votes::count(const Index& index, std::size_t most, std::size_t most_hits) {
    look_up(index, last_rank(most_hits));
    looked_at_ += hits_.size();
    // Drops the hits that cannot have min_votes in three neighbouring columns: nearly all, for two
    // passes without sorting. What was unlucky to share a cell shares none modulo an odd number.
    const std::size_t cells = std::bit_ceil(std::max<std::size_t>(hits_.size() * 4, 1024));
    drop_lonely_hits(cells, [cells](std::uint32_t diagonal) { return diagonal & (cells - 1); });
    const auto odd =
        static_cast<std::uint32_t>(std::max<std::size_t>(hits_.size() * 16, 1024) | 1U);
    drop_lonely_hits(odd, [odd](std::uint32_t diagonal) { return diagonal % odd; });
    count_offsets(index);
    return best_offsets(most);
}

std::size_t Votes::last_rank(std::size_t most_hits) const noexcept {
    std::size_t rank = 0;
    for (double sum = hits_of_[0]; rank + 1 < ranks; ++rank) {
        sum += hits_of_[rank + 1];
        if (sum > static_cast<double>(most_hits)) {
            break;
        }
    }
    return rank;
}

void Votes::look_up(const Index& index, std::size_t last_rank) {
    hits_.clear();
    for (std::size_t i = 0; i < queries_.size(); ++i) {
        if (rank_of_[i] > last_rank) {
            continue;
        }
        index.find(queries_[i].key, [&](std::span<const std::uint32_t> places) {
            for (const std::uint32_t place : places) {
                hits_.push_back({place - queries_[i].column, static_cast<std::uint32_t>(i)});
            }
        });
    }
}

// Counts votes in a table that forgets which offset it was; neighbours have neighbouring cells.
template <typename CellOf>
void Votes::drop_lonely_hits(std::size_t cells, CellOf cell_of) {
    counters_.assign(cells, 0);
    for (const Hit& hit : hits_) {
        std::uint8_t& counter = counters_[cell_of(hit.diagonal)];
        counter = static_cast<std::uint8_t>(counter + (counter < 255 ? 1 : 0));
    }
    std::erase_if(hits_, [&](const Hit& hit) {
        const std::size_t cell = cell_of(hit.diagonal);
        const std::size_t left = cell == 0 ? cells - 1 : cell - 1;
        const std::size_t right = cell + 1 == cells ? 0 : cell + 1;
        return counters_[left] + counters_[cell] + counters_[right] < static_cast<int>(min_votes);
    });
}

// How many pairs vote for each offset of each track that is still there.
void Votes::count_offsets(const Index& index) {
    std::sort(hits_.begin(), hits_.end());
    offsets_.clear();
    for (std::size_t i = 0; i < hits_.size();) {
        std::size_t end = i;
        while (end < hits_.size() && hits_[end].diagonal == hits_[i].diagonal) {
            ++end;
        }
        count_diagonal(index, std::span(hits_).subspan(i, end - i));
        i = end;
    }
    // Not yet where clips begin before one track and end in the one before.
    if (!std::is_sorted(offsets_.begin(), offsets_.end())) {
        std::sort(offsets_.begin(), offsets_.end());
    }
}

// One offset of one track; or of two, where a clip begins before the second.
void Votes::count_diagonal(const Index& index, std::span<Hit> hits) {
    const auto track_of = [&](const Hit& hit) {
        return index.track_at(hit.diagonal + queries_[hit.query].column);
    };
    while (!hits.empty()) {
        const std::uint32_t number = track_of(hits.front());
        const auto rest = std::stable_partition(
            hits.begin(), hits.end(), [&](const Hit& hit) { return track_of(hit) == number; });
        const Index::Track& track = index.tracks()[number];
        std::uint32_t pairs = 0;
        std::uint32_t last_pair = 0;
        for (const Hit& hit : std::span(hits.begin(), rest)) {
            const std::uint32_t pair = queries_[hit.query].pair;
            pairs += pairs == 0 || pair != last_pair ? 1 : 0;
            last_pair = pair;
        }
        if (track.packed) {
            const auto offset =
                static_cast<std::int32_t>(hits.front().diagonal - track.first_place);
            offsets_.push_back({number, offset, pairs});
        }
        hits = hits.subspan(static_cast<std::size_t>(rest - hits.begin()));
    }
}

// Votes of an offset: its own and its neighbours', since columns round either way.
std::vector<Candidate> Votes::best_offsets(std::size_t most) const {
    const auto neighbour = [this](std::size_t i, std::size_t k) {
        return k < offsets_.size() && offsets_[k].track == offsets_[i].track &&
                       std::abs(offsets_[k].offset - offsets_[i].offset) == 1
                   ? offsets_[k].pairs
                   : 0U;
    };
    std::vector<Candidate> best;
    for (std::size_t i = 0; i < offsets_.size(); ++i) {
        const std::uint32_t left = i == 0 ? 0U : neighbour(i, i - 1);
        const std::uint32_t right = neighbour(i, i + 1);
        const std::uint32_t own = offsets_[i].pairs;
        if (own + left + right >= min_votes && own > left && own >= right) {
            best.push_back({offsets_[i].track, offsets_[i].offset, own + left + right});
        }
    }
    const std::size_t count = std::min(best.size(), most);
    std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(count), best.end(),
                      [](const Candidate& a, const Candidate& b) { return a.pairs > b.pairs; });
    best.resize(count);
    return best;
}

}  // namespace sonogate::catalog
