// Problem: an hour of radio is one clip with thirty plays in it, at speeds of their own, one faded
// into the next, with words over them, and some come twice.
//
// Idea: windows of 20 s are searched one after the other, each as a clip in which several plays may
// lie. Where a play runs, its track's clock tells what must be heard in the next window: that is
// one hypothesis and not a million, so it is believed on far less evidence, and costs no search for
// a speed. Sightings of a track that agree on its clock are one play. Begin and end are looked for
// peak by peak (fingerprint/extent.hpp) around the first and the last sighting.
//
// Then neighbours are merged: the same track, the same clock, and between them a few seconds in
// which there was something else to hear. Silence between them is no play, and a track that went on
// where it had stopped has another clock: both stay apart. So do repeats. Last, a peak of the
// recording vouches for one play: a play whose peaks another, surer one explains as well (another
// edition of the recording, a sample, the same loop earlier in the track) is left out.
//
// Cost: a plain search a window, 25 ms of a ratio search for each 10 s that nothing explains.
// Tried and dropped: windows that overlap (twice the cost; what straddles an edge is found in one
// of the two, and its extent is looked for in both), one search of the whole recording (its
// candidates an hour deep drown the short plays).
#include "catalog/timeline.hpp"

#include <algorithm>
#include <cmath>

#include "fingerprint/packing.hpp"

namespace sonogate::catalog {

using fingerprint::Fingerprint;
using fingerprint::Fit;
using fingerprint::Peak;
using fingerprint::Stretch;
using fingerprint::TrackPeaks;

namespace {

constexpr std::uint32_t second = 250;  // in units of Peak::time
constexpr std::uint32_t window_time = 20 * second;
constexpr std::uint32_t least_window_time = 10 * second;  // a shorter rest goes with the one before
constexpr std::uint32_t plays_of_a_window = 16;
// A play is expected this long after it was last seen.
constexpr std::uint32_t memory_time = 2 * window_time;
constexpr double same_clock_time = 12;  // 48 ms: what a fit is off by, over two windows
constexpr double same_speed = 0.004;
constexpr std::uint32_t most_pause_time = 10 * second;  // bridged by what else is to hear
constexpr double least_peaks_of_sound = 10 / static_cast<double>(second);  // a unit of time
constexpr double most_shared = 0.5;  // of a play's peaks with a surer one

double track_time(const Fit& fit, double time) noexcept {
    return time * fit.ratio.tempo + fit.offset_time;
}

bool same_clock(const Fit& a, const Fit& b, double time) noexcept {
    return std::abs(a.ratio.tempo - b.ratio.tempo) < same_speed &&
           std::abs(a.ratio.pitch - b.ratio.pitch) < same_speed &&
           std::abs(track_time(a, time) - track_time(b, time)) <= same_clock_time;
}

std::uint32_t overlap(const Stretch& a, const Stretch& b) noexcept {
    const std::uint32_t first = std::max(a.first_time, b.first_time);
    const std::uint32_t last = std::min(a.last_time, b.last_time);
    return last > first ? last - first : 0;
}

}  // namespace

// A chain with its bounds. Its clock is that of the nearer sighting.
struct Timeline::Draft {
    std::uint32_t track = 0;
    Sighting first;
    Sighting last;
    Stretch stretch;
    double false_positive_probability = 1;
    double evidence = 0;
    bool dropped = false;

    const Fit& fit_at(std::uint32_t time) const noexcept {
        const auto away = [time](const Sighting& s) {
            return std::abs(std::int64_t{time} - s.stretch.first_time);
        };
        return away(last) < away(first) ? last.fit : first.fit;
    }
};

Timeline::Timeline(std::shared_ptr<const Index> index, Fingerprint recording,
                   double max_false_positive)
    : index_(std::move(index)), recording_(std::move(recording)) {
    end_time_ = recording_.peaks.empty() ? 0 : recording_.peaks.back().time + 1;
    max_false_positive_ = max_false_positive / (end_time_ / window_time + 1);
}

Stretch Timeline::next_window() const {
    const std::uint32_t left = end_time_ - searched_time_;
    return {searched_time_,
            left < window_time + least_window_time ? end_time_ : searched_time_ + window_time};
}

bool Timeline::step(Searcher& searcher) {
    if (searched_time_ >= end_time_) {
        return false;
    }
    const Stretch window = next_window();
    Fingerprint clip{.density = recording_.density,
                     .duration_ms = (window.last_time - window.first_time) * 4,
                     .loudest_dbfs = recording_.loudest_dbfs,
                     .peaks = {}};
    for (Peak peak : between(window.first_time, window.last_time)) {
        peak.time -= window.first_time;
        clip.peaks.push_back(peak);
    }
    const std::vector<Hypothesis> expected = expected_in(window);
    const SearchResult found = searcher.search(*index_, clip,
                                               {.limit = plays_of_a_window,
                                                .max_false_positive = max_false_positive_,
                                                .multi = true,
                                                .expected = expected});
    for (const Match& match : found.matches) {
        take(match, window.first_time);
    }
    searched_time_ = window.last_time;
    return searched_time_ < end_time_;
}

// Plays that were seen lately, where their tracks' clocks stand at the window's begin.
std::vector<Hypothesis> Timeline::expected_in(Stretch window) const {
    std::vector<Hypothesis> out;
    for (const Chain& chain : chains_) {
        const Fit& fit = chain.last.fit;
        const double at = track_time(fit, window.first_time);
        if (chain.last.stretch.last_time + memory_time >= window.first_time &&
            at < index_->tracks()[chain.track].columns * fingerprint::time_steps) {
            out.push_back({chain.track, {fit.ratio, at}});
        }
    }
    return out;
}

void Timeline::take(const Match& match, std::uint32_t begin_time) {
    const Sighting seen = {
        {match.ratio, match.alignment.offset_time - begin_time * match.ratio.tempo},
        {match.alignment.first_time + begin_time, match.alignment.last_time + begin_time}};
    const auto goes_on = [&](const Chain& chain) {
        return chain.track == match.track &&
               chain.last.stretch.last_time + memory_time >= seen.stretch.first_time &&
               same_clock(chain.last.fit, seen.fit, seen.stretch.first_time);
    };
    const double p =
        std::min(1.0, match.false_positive_probability * (end_time_ / window_time + 1));
    const auto chain = std::find_if(chains_.rbegin(), chains_.rend(), goes_on);
    if (chain == chains_.rend()) {
        chains_.push_back({match.track, seen, seen, p, match.alignment.evidence});
        return;
    }
    chain->last = seen;
    chain->false_positive_probability = std::min(chain->false_positive_probability, p);
    chain->evidence += match.alignment.evidence;
}

std::span<const Peak> Timeline::between(std::uint32_t first_time, std::uint32_t end_time) const {
    const auto before = [](const Peak& p, std::uint32_t time) { return p.time < time; };
    const auto& all = recording_.peaks;
    const auto first = std::lower_bound(all.begin(), all.end(), first_time, before);
    return {first, std::lower_bound(first, all.end(), end_time, before)};
}

TrackPeaks Timeline::peaks_of(std::uint32_t track) const {
    auto fingerprint = fingerprint::unpack(*index_->tracks()[track].packed);
    return TrackPeaks(fingerprint ? std::move(*fingerprint) : Fingerprint{});
}

// What a play reaches beyond its first or last sighting is less than a window, or it would have
// been seen there; two are looked at, for one of them may be short.
Timeline::Draft Timeline::draft_of(const Chain& chain, const TrackPeaks& track) const {
    const auto extent = [&](const Sighting& seen) {
        const std::uint32_t first = seen.stretch.first_time;
        return fingerprint::extent_of(between(first - std::min(first, 2 * window_time),
                                              seen.stretch.last_time + 2 * window_time),
                                      track, seen.fit, seen.stretch);
    };
    Draft draft{.track = chain.track,
                .first = chain.first,
                .last = chain.last,
                .stretch = {extent(chain.first).first_time, extent(chain.last).last_time},
                .false_positive_probability = chain.false_positive_probability,
                .evidence = chain.evidence};
    return draft;
}

std::vector<Timeline::Draft> Timeline::drafts() const {
    std::vector<Chain> chains = chains_;
    std::stable_sort(chains.begin(), chains.end(),
                     [](const Chain& a, const Chain& b) { return a.track < b.track; });
    std::vector<Draft> out;
    for (std::size_t i = 0; i < chains.size();) {
        const std::uint32_t number = chains[i].track;
        const TrackPeaks track = peaks_of(number);
        for (; i < chains.size() && chains[i].track == number; ++i) {
            out.push_back(draft_of(chains[i], track));
        }
    }
    return out;
}

// `drafts` are by track, and in each by time of discovery.
void Timeline::merge_neighbours(std::vector<Draft>& drafts) const {
    std::sort(drafts.begin(), drafts.end(), [](const Draft& a, const Draft& b) {
        return a.track != b.track ? a.track < b.track : a.stretch.first_time < b.stretch.first_time;
    });
    const auto goes_on = [&](const Draft& a, const Draft& b) {
        if (a.track != b.track || !same_clock(a.last.fit, b.first.fit, b.stretch.first_time)) {
            return false;
        }
        const std::uint32_t end = a.stretch.last_time;
        const std::uint32_t begin = b.stretch.first_time;
        if (begin <= end) {
            return true;
        }
        return begin - end <= most_pause_time &&
               (begin - end <= second || static_cast<double>(between(end, begin).size()) >=
                                             least_peaks_of_sound * (begin - end));
    };
    std::vector<Draft> out;
    for (const Draft& draft : drafts) {
        // With a loop's other reading between them the neighbour is not the one before.
        const auto found = std::find_if(
            out.rbegin(), out.rend(), [&](const Draft& before) { return goes_on(before, draft); });
        if (found == out.rend()) {
            out.push_back(draft);
            continue;
        }
        found->last = draft.last;
        found->stretch.last_time = std::max(found->stretch.last_time, draft.stretch.last_time);
        found->false_positive_probability =
            std::min(found->false_positive_probability, draft.false_positive_probability);
        found->evidence += draft.evidence;
    }
    drafts = std::move(out);
}

void Timeline::drop_shadows(std::vector<Draft>& drafts) const {
    std::sort(drafts.begin(), drafts.end(),
              [](const Draft& a, const Draft& b) { return a.evidence > b.evidence; });
    for (std::size_t i = 0; i < drafts.size(); ++i) {
        Draft& weak = drafts[i];
        std::size_t own = 0;
        std::size_t shared = 0;
        std::vector<const Draft*> surer;
        for (std::size_t k = 0; k < i; ++k) {
            if (!drafts[k].dropped && overlap(drafts[k].stretch, weak.stretch) > 0) {
                surer.push_back(&drafts[k]);
            }
        }
        if (surer.empty()) {
            continue;
        }
        const TrackPeaks its_track = peaks_of(weak.track);
        std::vector<TrackPeaks> their_tracks;
        for (const Draft* const other : surer) {
            their_tracks.push_back(peaks_of(other->track));
        }
        for (const Peak& peak : between(weak.stretch.first_time, weak.stretch.last_time + 1)) {
            if (!fingerprint::coincides(peak, its_track, weak.fit_at(peak.time))) {
                continue;
            }
            ++own;
            for (std::size_t k = 0; k < surer.size(); ++k) {
                if (peak.time >= surer[k]->stretch.first_time &&
                    peak.time <= surer[k]->stretch.last_time &&
                    fingerprint::coincides(peak, their_tracks[k], surer[k]->fit_at(peak.time))) {
                    ++shared;
                    break;
                }
            }
        }
        weak.dropped = static_cast<double>(shared) > most_shared * static_cast<double>(own);
    }
    std::erase_if(drafts, [](const Draft& d) { return d.dropped; });
}

std::vector<Play> Timeline::plays() const {
    std::vector<Draft> all = drafts();
    merge_neighbours(all);
    drop_shadows(all);
    std::sort(all.begin(), all.end(), [](const Draft& a, const Draft& b) {
        return a.stretch.first_time < b.stretch.first_time;
    });
    std::vector<Play> out;
    for (const Draft& draft : all) {
        out.push_back({.row = index_->tracks()[draft.track].row,
                       .ratio = draft.first.fit.ratio,
                       .stretch = draft.stretch,
                       .track_first_time =
                           std::max(0.0, track_time(draft.first.fit, draft.stretch.first_time)),
                       .track_last_time = track_time(draft.last.fit, draft.stretch.last_time),
                       .false_positive_probability = draft.false_positive_probability});
    }
    return out;
}

}  // namespace sonogate::catalog
