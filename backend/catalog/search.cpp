// Problem: which of all (track, offset) does a clip come from, without trying them all?
//
// Idea: each pair of clip peaks asks the index where its key occurs; each answer is a vote for
// (track, track column − clip column). True offsets collect votes, false ones scatter. The few
// offsets with most votes are judged peak by peak (fingerprint/score.hpp); votes decide nothing.
//
// Passes over one stretch of clip (20 s, so that memory is bounded whatever the clip's length):
// look up, count votes in a small hashed table and drop what stands alone, sort the rest, keep
// the best offsets. Then all stretches' candidates are judged against the whole clip.
//
// Cost: about 3 look-ups a pair and 1000 pairs a second of clip; postings grow with the catalog.
#include "catalog/search.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <bitset>
#include <cmath>

#include "fingerprint/packing.hpp"

namespace sonogate::catalog {
namespace {

using fingerprint::Alignment;
using fingerprint::Fingerprint;
using fingerprint::Query;

constexpr std::uint32_t stretch_columns = 1250;  // 20 s
constexpr std::size_t candidates_per_stretch = 32;
constexpr std::uint32_t min_votes = 3;
constexpr std::int32_t same_offset_columns = 2;
constexpr std::size_t min_distinct_bins = 8;  // a chord of a few notes is in every piece
constexpr double overlap_of_one_play = 0.5;

std::size_t distinct_bins(const Fingerprint& clip) {
    std::bitset<fingerprint::row_bins + 1> bins;
    for (const fingerprint::Peak& p : clip.peaks) {
        bins.set((p.frequency + fingerprint::frequency_steps / 2) / fingerprint::frequency_steps);
    }
    return bins.count();
}

// Two alignments of a track claim the same stretch of the clip: a piece that repeats itself.
bool is_same_play(const Match& a, const Match& b) noexcept {
    const double begin = std::max(a.alignment.first_time, b.alignment.first_time);
    const double end = std::min(a.alignment.last_time, b.alignment.last_time);
    const double shorter = std::min(a.alignment.last_time - a.alignment.first_time,
                                    b.alignment.last_time - b.alignment.first_time);
    return a.row == b.row && end - begin > overlap_of_one_play * shorter;
}

}  // namespace

std::string_view name_of(Reason reason) noexcept {
    switch (reason) {
        case Reason::none:
            return {};
        case Reason::silence:
            return "silence";
        case Reason::too_short:
            return "too_short";
        case Reason::catalog_empty:
            return "catalog_empty";
        case Reason::no_candidates:
            return "no_candidates";
        case Reason::below_threshold:
            return "below_threshold";
    }
    return {};
}

SearchResult Searcher::search(const Index& index, const Fingerprint& clip,
                              const SearchOptions& options) {
    SearchResult out;
    if (fingerprint::is_too_short(clip)) {
        out.reason = Reason::too_short;
        return out;
    }
    if (fingerprint::is_silent(clip)) {
        out.reason = Reason::silence;
        return out;
    }
    if (index.live_tracks() == 0) {
        out.reason = Reason::catalog_empty;
        return out;
    }
    const fingerprint::Queries queries = fingerprint::clip_queries(clip.peaks);
    out.query_hashes = queries.pairs;
    candidates_.clear();
    if (distinct_bins(clip) >= min_distinct_bins) {
        collect_candidates(index, queries.queries);
    }
    if (candidates_.empty()) {
        out.reason = Reason::no_candidates;
        return out;
    }
    out.matches = judge(index, clip, options);
    out.reason = out.matches.empty() ? Reason::below_threshold : Reason::none;
    return out;
}

void Searcher::collect_candidates(const Index& index, const std::vector<Query>& queries) {
    const Query* begin = queries.data();
    const Query* const all_end = begin + queries.size();
    while (begin != all_end) {
        const std::uint32_t last_column = begin->column + stretch_columns;
        const Query* const end = std::find_if(
            begin, all_end, [last_column](const Query& q) { return q.column > last_column; });
        look_up(index, begin, end);
        drop_lonely_hits();
        take_best_offsets();
        begin = end;
    }
    // Offsets that several stretches told are one candidate.
    std::sort(candidates_.begin(), candidates_.end());
    std::size_t kept = 0;
    for (const Candidate& c : candidates_) {
        Candidate* const last = kept == 0 ? nullptr : &candidates_[kept - 1];
        if (last != nullptr && last->track == c.track &&
            c.offset - last->offset <= same_offset_columns) {
            last->offset = c.pairs > last->pairs ? c.offset : last->offset;
            last->pairs += c.pairs;
        } else {
            candidates_[kept++] = c;
        }
    }
    candidates_.resize(kept);
}

void Searcher::look_up(const Index& index, const Query* begin, const Query* end) {
    hits_.clear();
    for (const Query* q = begin; q != end; ++q) {
        index.find(q->key, [&](std::span<const std::uint32_t> places) {
            for (const std::uint32_t place : places) {
                const std::uint32_t number = index.track_at(place);
                const Index::Track& track = index.tracks()[number];
                if (track.packed) {
                    const auto column = static_cast<std::int32_t>(place - track.first_place);
                    hits_.push_back(
                        {number, column - static_cast<std::int32_t>(q->column), q->pair});
                }
            }
        });
    }
}

// Counts votes in a table that forgets which offset it was, and drops the hits that cannot have
// min_votes in three neighbouring columns: nearly all, for two passes without sorting.
void Searcher::drop_lonely_hits() {
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

void Searcher::take_best_offsets() {
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
    const std::size_t count = std::min(best.size(), candidates_per_stretch);
    std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(count), best.end(),
                      [](const Candidate& a, const Candidate& b) { return a.pairs > b.pairs; });
    candidates_.insert(candidates_.end(), best.begin(),
                       best.begin() + static_cast<std::ptrdiff_t>(count));
}

std::vector<Match> Searcher::judge(const Index& index, const Fingerprint& clip,
                                   const SearchOptions& options) {
    const double clip_columns =
        clip.duration_ms * double{fingerprint::sample_rate_hz} / 1000 / fingerprint::hop_frames;
    const double places = static_cast<double>(index.live_columns()) +
                          static_cast<double>(index.live_tracks()) * clip_columns;
    const double wanted = fingerprint::evidence_for(options.max_false_positive, places);
    std::vector<Match> sure;
    for (std::size_t i = 0; i < candidates_.size();) {
        const Index::Track& track = index.tracks()[candidates_[i].track];
        auto unpacked = fingerprint::unpack(*track.packed);
        const fingerprint::TrackPeaks peaks(std::move(*unpacked));
        const std::uint32_t number = candidates_[i].track;
        for (; i < candidates_.size() && candidates_[i].track == number; ++i) {
            const Alignment alignment = fingerprint::align(
                clip.peaks, peaks, std::int64_t{candidates_[i].offset} * fingerprint::time_steps,
                wanted);
            const double p = fingerprint::false_positive_bound(alignment.evidence, places);
            if (p <= options.max_false_positive && p < 1) {
                sure.push_back({track.row, alignment, p, candidates_[i].pairs});
            }
        }
    }
    std::sort(sure.begin(), sure.end(), [](const Match& a, const Match& b) {
        return a.alignment.evidence > b.alignment.evidence;
    });
    std::vector<Match> out;
    for (const Match& match : sure) {
        const bool told = std::any_of(out.begin(), out.end(), [&](const Match& better) {
            return options.multi ? is_same_play(better, match) : better.row == match.row;
        });
        if (!told && out.size() < options.limit) {
            out.push_back(match);
        }
    }
    return out;
}

}  // namespace sonogate::catalog
