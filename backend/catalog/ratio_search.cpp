// The part of the search that finds clips which run faster or slower, or sound higher or lower.
//
// Idea: no new transform, only other coordinates of the same peaks. The strongest peaks of 10 s of
// clip are scaled by each ratio of a grid and asked with few pairs; the offsets with most votes of
// all ratios are fitted, which makes their ratios exact, and judged.
//
// Cost: some sixty ratios. Where lists are long a quarter of the budget of each is spent first, and
// all of it only where that finds nothing, or little.
#include <algorithm>
#include <cmath>
#include <optional>

#include "catalog/judge.hpp"
#include "catalog/search.hpp"

namespace sonogate::catalog {
namespace {

using fingerprint::Peak;
using fingerprint::Ratio;
using fingerprint::TrackPeaks;

constexpr std::uint32_t ratio_stretch_time = 625 * fingerprint::time_steps;  // 10 s
constexpr std::uint32_t least_gap_time = 188 * fingerprint::time_steps;      // 3 s
constexpr std::size_t ratio_stretches = 6;  // of a clip of which one play is enough
constexpr std::size_t ratio_peaks_per_s = 25;
constexpr std::size_t ratio_fan_out = 6;
constexpr std::size_t candidates_per_ratio = 6;
constexpr std::size_t candidates_of_ratios = 48;
constexpr double farthest_fit = 0.008;  // from its guess; half a step is 0.0025 to 0.005
constexpr double same_ratio = 0.008;
constexpr std::size_t ratios_of_a_stretch = 2;  // searched in full, the surest first

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
                search_deep(work, ratio, ratio_trials, queries.queries);
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
    const double seconds =
        (stretch.back().time - stretch.front().time) * fingerprint::seconds_per_time_unit + 0.5;
    const std::vector<Peak> few =
        strongest(stretch, static_cast<std::size_t>(seconds * ratio_peaks_per_s));
    work.depth = Depth::first;
    work.left_out = false;
    std::vector<Match> found = try_ratios(work, few);
    if (work.left_out && !is_clear(found)) {
        work.depth = Depth::most;
        const std::vector<Match> more = try_ratios(work, few);
        found.insert(found.end(), more.begin(), more.end());
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

// The clip at the ratios at which its strongest peaks find a track, once those are exact.
std::vector<Match> Searcher::try_ratios(Work& work, std::span<const Peak> few) {
    struct Nominee {
        Candidate candidate;
        Ratio ratio;
    };
    std::vector<Nominee> nominees;
    for (const Ratio ratio : fingerprint::ratio_grid()) {
        const auto queries =
            fingerprint::clip_queries(fingerprint::at_ratio(few, ratio), ratio_fan_out);
        for (const Candidate& c :
             count(work, queries.queries, candidates_per_ratio, work.options.budget.ratio)) {
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
    return found;
}

}  // namespace sonogate::catalog
