// Problem: which of all (track, offset, ratio) does a clip come from, without trying them all?
//
// Idea: each pair of clip peaks asks the index where its key occurs; each answer is a vote for
// (track, track column − clip column). True offsets collect votes, false ones scatter. The few
// offsets with most votes are judged peak by peak (fingerprint/score.hpp); votes decide nothing.
//
// Passes over one stretch of clip (20 s, so that memory is bounded whatever the clip's length):
// look up, count votes in a small hashed table and drop what stands alone, sort the rest, keep
// the best offsets. Then all stretches' candidates are judged against the whole clip.
//
// A clip that runs or sounds otherwise than its track has other keys. Where the plain clip finds
// nothing, the strongest peaks of 10 s of it are scaled by each of a grid of ratios and asked
// again: few pairs are enough to nominate, since such clips are seldom noisy as well. The
// candidates' ratios are made exact on peaks, and each ratio that proves itself is searched once
// more in full, so that all tracks that share the audio are told.
//
// Cost: about 3 look-ups a pair and 2000 pairs a second of clip. Postings grow with the catalog, so
// a search has a budget of them (votes.hpp chooses what is asked: clear peaks and rare keys first).
// Where that does not reach for everything, a small part of it is tried first: that finds all but
// the noisiest, and costs 8 ms at 100,000 tracks. The same holds for each ratio (ratio_search.cpp).
#include "catalog/search.hpp"

#include <algorithm>
#include <bitset>
#include <cmath>

#include "catalog/judge.hpp"

namespace sonogate::catalog {
namespace {

using fingerprint::Fingerprint;
using fingerprint::Fit;
using fingerprint::Peak;
using fingerprint::Query;
using fingerprint::Ratio;
using fingerprint::TrackPeaks;

constexpr std::uint32_t stretch_columns = 1250;  // 20 s
constexpr std::size_t candidates_per_stretch = 32;
constexpr std::int32_t same_offset_columns = 2;
constexpr std::size_t min_distinct_bins = 8;  // a chord of a few notes is in every piece
constexpr double overlap_of_one_play = 0.5;

// Hypotheses tried at the place of what was heard before: the clock is off a little.
constexpr double expected_trials = 8;

std::size_t distinct_bins(const Fingerprint& clip) {
    std::bitset<fingerprint::row_bins + 1> bins;
    for (const Peak& p : clip.peaks) {
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

// Of each track the best, or of each play; best first.
std::vector<Match> choose(std::vector<Match> sure, const SearchOptions& options) {
    std::sort(sure.begin(), sure.end(), [](const Match& a, const Match& b) {
        return a.false_positive_probability != b.false_positive_probability
                   ? a.false_positive_probability < b.false_positive_probability
                   : a.alignment.evidence > b.alignment.evidence;
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
    if (distinct_bins(clip) < min_distinct_bins) {
        out.reason = Reason::no_candidates;
        return out;
    }
    const double clip_columns =
        clip.duration_ms * double{fingerprint::sample_rate_hz} / 1000 / fingerprint::hop_frames;
    const std::uint64_t looked_at_before = votes_.looked_at();
    Work work{.index = index,
              .clip = clip,
              .options = options,
              .places = static_cast<double>(index.live_columns()) +
                        static_cast<double>(index.live_tracks()) * clip_columns,
              .sure = {}};
    judge_expected(work);
    search_deep(work, Ratio{}, plain_trials, queries.queries);
    if (work.sure.empty() || options.multi) {
        search_ratios(work);
    }
    out.postings = votes_.looked_at() - looked_at_before;
    out.matches = choose(std::move(work.sure), options);
    out.reason = !out.matches.empty() ? Reason::none
                 : work.nominated     ? Reason::below_threshold
                                      : Reason::no_candidates;
    return out;
}

// The offsets with most votes, of as many queries as the budget has room for.
std::vector<Candidate> Searcher::count(Work& work, std::span<const Query> queries, std::size_t most,
                                       Budget::Hits budget) {
    votes_.prepare(work.index, queries);
    const bool is_first =
        work.depth == Depth::first && votes_.hits() > static_cast<double>(budget.most);
    work.left_out = work.left_out || is_first;
    return votes_.count(work.index, most, is_first ? budget.first : budget.most);
}

// As deep as it takes to find a track beyond doubt, or as the budget allows.
void Searcher::search_deep(Work& work, Ratio ratio, double trials, std::span<const Query> queries) {
    work.left_out = false;
    work.depth = work.options.multi ? Depth::most : Depth::first;
    search_at(work, ratio, trials, queries);
    if (work.left_out && !is_clear(work.sure)) {
        work.depth = Depth::most;
        search_at(work, ratio, trials, queries);
    }
}

// All stretches of the clip, scaled by one ratio.
void Searcher::search_at(Work& work, Ratio ratio, double trials, std::span<const Query> queries) {
    std::vector<Candidate> candidates;
    while (!queries.empty()) {
        const std::uint32_t last_column = queries.front().column + stretch_columns;
        const auto end =
            std::find_if(queries.begin(), queries.end(),
                         [last_column](const Query& q) { return q.column > last_column; });
        const auto stretch = queries.first(static_cast<std::size_t>(end - queries.begin()));
        const auto best = count(work, stretch, candidates_per_stretch, work.options.budget.stretch);
        candidates.insert(candidates.end(), best.begin(), best.end());
        queries = queries.subspan(stretch.size());
    }
    work.nominated = work.nominated || !candidates.empty();
    // Offsets that several stretches told are one candidate.
    std::sort(candidates.begin(), candidates.end());
    std::size_t kept = 0;
    for (const Candidate& c : candidates) {
        Candidate* const last = kept == 0 ? nullptr : &candidates[kept - 1];
        if (last != nullptr && last->track == c.track &&
            c.offset - last->offset <= same_offset_columns) {
            last->offset = c.pairs > last->pairs ? c.offset : last->offset;
            last->pairs += c.pairs;
        } else {
            candidates[kept++] = c;
        }
    }
    candidates.resize(kept);
    const std::vector<Peak> scaled = fingerprint::at_ratio(work.clip.peaks, ratio);
    for (std::size_t i = 0; i < candidates.size();) {
        const std::uint32_t number = candidates[i].track;
        const Index::Track& track = work.index.tracks()[number];
        const TrackPeaks peaks = peaks_of(track);
        for (; i < candidates.size() && candidates[i].track == number; ++i) {
            Match match = judge(scaled, track, peaks,
                                std::int64_t{candidates[i].offset} * fingerprint::time_steps, ratio,
                                work.places * trials, work.options.max_false_positive);
            match.track = number;
            match.aligned_hashes = candidates[i].pairs;
            if (is_sure(match, work.options)) {
                work.sure.push_back(match);
            }
        }
    }
}

// Here the places that could be tried are those that are.
void Searcher::judge_expected(Work& work) {
    for (const Hypothesis& hypothesis : work.options.expected) {
        const Index::Track& track = work.index.tracks()[hypothesis.track];
        if (!track.packed) {
            continue;
        }
        const Fit& fit = hypothesis.fit;
        Match match = judge(fingerprint::at_ratio(work.clip.peaks, fit.ratio), track,
                            peaks_of(track), std::llround(fit.offset_time), fit.ratio,
                            static_cast<double>(work.options.expected.size()) * expected_trials,
                            work.options.max_false_positive);
        match.track = hypothesis.track;
        if (is_sure(match, work.options)) {
            work.sure.push_back(match);
        }
    }
}

}  // namespace sonogate::catalog
