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
// Cost: about 3 look-ups a pair and 1000 pairs a second of clip; postings grow with the catalog.
// The grid asks a tenth of the pairs at each of some sixty ratios.
#include "catalog/search.hpp"

#include <algorithm>
#include <bitset>
#include <cmath>
#include <optional>

#include "fingerprint/packing.hpp"

namespace sonogate::catalog {
namespace {

using fingerprint::Alignment;
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

// The search for a ratio.
constexpr std::uint32_t ratio_stretch_time = 625 * fingerprint::time_steps;  // 10 s
constexpr std::uint32_t least_gap_time = 188 * fingerprint::time_steps;      // 3 s
constexpr std::size_t ratio_stretches = 6;  // of a clip of which one play is enough
constexpr std::size_t ratio_peaks_per_s = 25;
constexpr std::size_t ratio_fan_out = 6;
constexpr std::size_t candidates_per_ratio = 6;
constexpr std::size_t candidates_of_ratios = 48;
constexpr double farthest_fit = 0.008;  // from its guess; half a step is 0.0025 to 0.005
// Of clip peaks that coincide. Some ratio brings any drum loop into step with any other: of 200
// generated loops three had p < 1e-4 at 0.05 to 0.08; clean clips at another speed have 0.1 to 0.5.
constexpr double least_share_at_ratio = 0.1;
constexpr double same_ratio = 0.008;
constexpr std::size_t ratios_of_a_stretch = 2;  // searched in full, the surest first

// Hypotheses tried at each place: the plain clip; all ratios, each fitted in two dimensions.
constexpr double plain_trials = 2;
constexpr double ratio_trials = 400;
constexpr double expected_trials = 8;  // of what was heard before: the clock is off a little

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

bool is_sure(const Match& match, const SearchOptions& options) noexcept {
    return match.false_positive_probability <= options.max_false_positive &&
           match.false_positive_probability < 1;
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

TrackPeaks peaks_of(const Index::Track& track) {
    // It was whole when it came; a disk may have lost it since.
    auto fingerprint = fingerprint::unpack(*track.packed);
    return TrackPeaks(fingerprint ? std::move(*fingerprint) : Fingerprint{});
}

// Judges the clip at one offset of a track; `trials` is how many like this were tried there.
Match judge(const std::vector<Peak>& scaled, const Index::Track& track, const TrackPeaks& peaks,
            std::int64_t offset, Ratio ratio, double places, double most) {
    Match match;
    match.row = track.row;
    match.ratio = ratio;
    match.alignment =
        fingerprint::align(scaled, peaks, offset, fingerprint::evidence_for(most, places));
    match.false_positive_probability =
        fingerprint::false_positive_bound(match.alignment.evidence, places);
    if (!(ratio == Ratio{}) &&
        match.alignment.coinciding < least_share_at_ratio * match.alignment.compared) {
        match.false_positive_probability = 1;
    }
    const auto unscaled = [&](std::uint32_t time) {
        return static_cast<std::uint32_t>(std::llround(time / ratio.tempo));
    };
    match.alignment.first_time = unscaled(match.alignment.first_time);
    match.alignment.last_time = unscaled(match.alignment.last_time);
    return match;
}

// The peaks that stand out most, about so many a second.
std::vector<Peak> strongest(std::span<const Peak> peaks, std::size_t most) {
    std::vector<std::size_t> of_strength(fingerprint::max_strength + std::size_t{1});
    for (const Peak& p : peaks) {
        ++of_strength[p.strength];
    }
    std::size_t kept = 0;
    std::size_t least = of_strength.size();
    while (least > 0 && kept + of_strength[least - 1] <= most) {
        kept += of_strength[--least];
    }
    std::size_t more = most - kept;  // of the strength below: evenly
    const std::size_t ties = least == 0 ? 0 : of_strength[least - 1];
    std::vector<Peak> out;
    std::size_t tie = 0;
    for (const Peak& p : peaks) {
        const bool is_tie = p.strength + std::size_t{1} == least;
        if (p.strength >= least || (is_tie && tie * more / ties != (tie + 1) * more / ties)) {
            out.push_back(p);
        }
        tie += is_tie ? 1 : 0;
    }
    return out;
}

bool is_known(const std::vector<Ratio>& ratios, Ratio ratio) noexcept {
    return std::any_of(ratios.begin(), ratios.end(), [&](Ratio r) {
        return std::abs(r.tempo - ratio.tempo) < same_ratio &&
               std::abs(r.pitch - ratio.pitch) < same_ratio;
    });
}

// Stretches of the clip that no match covers, each short enough for the search of ratios.
std::vector<std::span<const Peak>> gaps(std::span<const Peak> clip,
                                        const std::vector<Match>& sure) {
    std::vector<std::span<const Peak>> out;
    const auto covered = [&](const Peak& p) {
        return std::any_of(sure.begin(), sure.end(), [&](const Match& m) {
            return p.time >= m.alignment.first_time && p.time <= m.alignment.last_time;
        });
    };
    for (std::size_t begin = 0; begin < clip.size();) {
        std::size_t end = begin;
        while (end < clip.size() && clip[end].time - clip[begin].time <= ratio_stretch_time &&
               !covered(clip[end])) {
            ++end;
        }
        if (end > begin &&
            (sure.empty() || clip[end - 1].time - clip[begin].time >= least_gap_time)) {
            out.push_back(clip.subspan(begin, end - begin));
        }
        begin = std::max(end, begin + 1);
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
    Work work{.index = index,
              .clip = clip,
              .options = options,
              .places = static_cast<double>(index.live_columns()) +
                        static_cast<double>(index.live_tracks()) * clip_columns,
              .sure = {}};
    search_at(work, Ratio{}, plain_trials, queries.queries);
    judge_expected(work);
    if (work.sure.empty() || options.multi) {
        search_ratios(work);
    }
    out.matches = choose(std::move(work.sure), options);
    out.reason = !out.matches.empty() ? Reason::none
                 : work.nominated     ? Reason::below_threshold
                                      : Reason::no_candidates;
    return out;
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
        const auto best = votes_.count(work.index, stretch, candidates_per_stretch);
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

void Searcher::search_ratios(Work& work) {
    std::vector<Ratio> tried;
    std::vector<std::span<const Peak>> open = gaps(work.clip.peaks, work.sure);
    std::size_t left = work.options.multi ? open.size() : ratio_stretches;
    while (!open.empty() && left-- > 0) {
        const std::span<const Peak> stretch = open[open.size() / 2];
        const std::vector<Ratio> found = find_ratios(work, stretch);
        for (const Ratio ratio : found) {
            if (!is_known(tried, ratio)) {
                tried.push_back(ratio);
                const auto queries =
                    fingerprint::clip_queries(fingerprint::at_ratio(work.clip.peaks, ratio));
                search_at(work, ratio, ratio_trials, queries.queries);
            }
        }
        if (!work.options.multi && !work.sure.empty()) {
            return;
        }
        std::erase_if(open, [&](std::span<const Peak> gap) {
            return gap.data() == stretch.data() ||
                   std::any_of(work.sure.begin(), work.sure.end(), [&](const Match& m) {
                       return gap.front().time >= m.alignment.first_time &&
                              gap.back().time <= m.alignment.last_time;
                   });
        });
    }
}

// Ratios at which this stretch of the clip certainly is of some track.
std::vector<Ratio> Searcher::find_ratios(Work& work, std::span<const Peak> stretch) {
    struct Nominee {
        Candidate candidate;
        Ratio ratio;
    };
    const double seconds =
        (stretch.back().time - stretch.front().time) * fingerprint::seconds_per_time_unit + 0.5;
    const std::vector<Peak> few =
        strongest(stretch, static_cast<std::size_t>(seconds * ratio_peaks_per_s));
    std::vector<Nominee> nominees;
    for (const Ratio ratio : fingerprint::ratio_grid()) {
        const auto queries =
            fingerprint::clip_queries(fingerprint::at_ratio(few, ratio), ratio_fan_out);
        for (const Candidate& c : votes_.count(work.index, queries.queries, candidates_per_ratio)) {
            nominees.push_back({c, ratio});
        }
    }
    work.nominated = work.nominated || !nominees.empty();
    std::sort(nominees.begin(), nominees.end(), [](const Nominee& a, const Nominee& b) {
        return a.candidate.pairs > b.candidate.pairs;
    });
    nominees.resize(std::min(nominees.size(), candidates_of_ratios));
    std::stable_sort(nominees.begin(), nominees.end(), [](const Nominee& a, const Nominee& b) {
        return a.candidate.track < b.candidate.track;
    });
    std::vector<Match> found;
    std::optional<TrackPeaks> peaks;  // of the track of the nominee before
    std::uint32_t unpacked = 0;
    for (const Nominee& nominee : nominees) {
        const Index::Track& track = work.index.tracks()[nominee.candidate.track];
        if (!peaks || unpacked != nominee.candidate.track) {
            unpacked = nominee.candidate.track;
            peaks.emplace(peaks_of(track));
        }
        const auto fit =
            fingerprint::fit_ratio(few, *peaks,
                                   {nominee.ratio, static_cast<double>(nominee.candidate.offset) *
                                                       fingerprint::time_steps});
        if (std::abs(fit.ratio.tempo - nominee.ratio.tempo) > farthest_fit ||
            std::abs(fit.ratio.pitch - nominee.ratio.pitch) > farthest_fit) {
            continue;  // what is true lies nearer: this one bent itself to chance
        }
        Match match = judge(fingerprint::at_ratio(work.clip.peaks, fit.ratio), track, *peaks,
                            std::llround(fit.offset_time), fit.ratio, work.places * ratio_trials,
                            work.options.max_false_positive);
        match.track = nominee.candidate.track;
        match.aligned_hashes = nominee.candidate.pairs;
        if (is_sure(match, work.options)) {
            found.push_back(match);
        }
    }
    work.sure.insert(work.sure.end(), found.begin(), found.end());
    std::sort(found.begin(), found.end(), [](const Match& a, const Match& b) {
        return a.alignment.evidence > b.alignment.evidence;
    });
    std::vector<Ratio> ratios;
    for (const Match& match : found) {
        if (ratios.size() < ratios_of_a_stretch && !is_known(ratios, match.ratio)) {
            ratios.push_back(match.ratio);
        }
    }
    return ratios;
}

}  // namespace sonogate::catalog
