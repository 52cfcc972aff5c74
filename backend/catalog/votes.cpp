#include "catalog/votes.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace sonogate::catalog {
namespace {

using fingerprint::Query;

constexpr std::uint32_t min_votes = 3;

}  // namespace

std::vector<Candidate> Votes::count(const Index& index, std::span<const Query> queries,
                                    std::size_t most) {
    look_up(index, queries);
    drop_lonely_hits();
    return best_offsets(most);
}

void Votes::look_up(const Index& index, std::span<const Query> queries) {
    hits_.clear();
    for (const Query& q : queries) {
        index.find(q.key, [&](std::span<const std::uint32_t> places) {
            for (const std::uint32_t place : places) {
                const std::uint32_t number = index.track_at(place);
                const Index::Track& track = index.tracks()[number];
                if (track.packed) {
                    const auto column = static_cast<std::int32_t>(place - track.first_place);
                    hits_.push_back({number, column - static_cast<std::int32_t>(q.column), q.pair});
                }
            }
        });
    }
}

// Counts votes in a table that forgets which offset it was, and drops the hits that cannot have
// min_votes in three neighbouring columns: nearly all, for two passes without sorting.
void Votes::drop_lonely_hits() {
    const std::size_t cells = std::bit_ceil(std::max<std::size_t>(hits_.size() * 4, 1024));
    counters_.assign(cells, 0);
    const auto cell_of = [cells](const Hit& hit) {
        return (hit.track * std::size_t{2654435761U} + static_cast<std::uint32_t>(hit.offset)) &
               (cells - 1);
    };
    for (const Hit& hit : hits_) {
        std::uint8_t& counter = counters_[cell_of(hit)];
        counter = static_cast<std::uint8_t>(counter + (counter < 255 ? 1 : 0));
    }
    std::erase_if(hits_, [&](const Hit& hit) {
        const std::size_t cell = cell_of(hit);
        return counters_[(cell - 1) & (cells - 1)] + counters_[cell] +
                   counters_[(cell + 1) & (cells - 1)] <
               static_cast<int>(min_votes);
    });
}

std::vector<Candidate> Votes::best_offsets(std::size_t most) {
    std::sort(hits_.begin(), hits_.end());
    hits_.erase(std::unique(hits_.begin(), hits_.end()), hits_.end());
    // Votes of an offset: its own and its neighbours', since columns round either way.
    offsets_.clear();
    for (std::size_t i = 0; i < hits_.size();) {
        std::size_t end = i;
        while (end < hits_.size() && hits_[end].track == hits_[i].track &&
               hits_[end].offset == hits_[i].offset) {
            ++end;
        }
        offsets_.push_back({hits_[i].track, hits_[i].offset, static_cast<std::uint32_t>(end - i)});
        i = end;
    }
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
