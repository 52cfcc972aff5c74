// Idea: where clip and track are the same recording, more of the clip's peaks fall on peaks of the
// track than chance explains, and nearer to them. Each coincidence weighs as much as it tells
// (evidence.hpp), and the sum is tested against what chance gives. That is not computed from a
// model but counted: the same clip against the same track at 64 other offsets. So a clip of one
// held note, or a track with few frequencies, raises its own bar.
//
// Peaks of music are not independent. Two pieces of one tempo coincide at every third offset and
// nowhere else, and a candidate is always one where they do: so the number of events is what the
// upper counts say, as if they were Poisson, not their mean. One note of the same pitch makes all
// its overtones coincide at once: so what coincides within 64 ms is one event, of the weight of
// three at most. (Without events, one of twenty clips of generated music of one scale got a bound
// below 1e-4, mostly from a single chord. Over 128 ms as many true places in noise were lost.)
//
// A clip may be partly in the track: the best run of events (maximum subarray, Bentley 1984) is
// tested as well, at the price of the m²/2 runs it was chosen from.
//
// Cost: (1 + 64) × n look-ups of about two peaks each: some 100 µs for 5 s of clip.
#include "fingerprint/score.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "fingerprint/evidence.hpp"

namespace sonogate::fingerprint {
namespace {

constexpr std::int64_t first_time_tolerance = 8;  // while the offset is a guess
constexpr std::uint32_t moment_time = 16;         // 4 columns, 64 ms
constexpr double least_chance = 0.002;            // 30 peaks a second spread evenly have 0.004
constexpr std::size_t shifts_near = 16;           // on either side
constexpr std::size_t shifts_far = 32;
constexpr double prior_events = 20;  // of the usual shape, added to those that were seen
constexpr double least_nats_per_peak = 0.1;
constexpr double lull_per_second = 32;    // weight that a run loses in a second without events
constexpr std::uint32_t least_run = 250;  // units of time, 1 s: a chord is not a play

// Coincidences of one moment.
struct Event {
    std::size_t first = 0;  // indices of clip peaks
    std::size_t last = 0;
    std::size_t count = 0;
    std::size_t weight = 0;
};

// Calls use(time) for each clip peak's time in the track, and gathers what coincides there.
template <typename TrackTime>
void find_events(std::span<const Peak> clip, const TrackPeaks& track, TrackTime track_time,
                 std::vector<Event>& out) {
    out.clear();
    for (std::size_t i = 0; i < clip.size(); ++i) {
        const std::int64_t time = track_time(clip[i].time);
        const Peak* const found =
            track.near(time, clip[i].frequency, time_tolerance, frequency_tolerance);
        if (found == nullptr) {
            continue;
        }
        const std::size_t weight = weight_of(
            static_cast<std::int32_t>(found->time - time),
            std::int32_t{found->frequency} - std::int32_t{clip[i].frequency}, clip[i].strength);
        if (weight == 0) {
            continue;
        }
        if (out.empty() || clip[i].time - clip[out.back().first].time >= moment_time) {
            out.push_back({i, i, 1, weight});
        } else if (out.back().count < most_of_a_moment) {
            out.back().last = i;
            out.back().weight += weight;
            ++out.back().count;
        }
    }
}

// Events at offsets where there is nothing but chance: all by weight, and their number at each.
struct Tally {
    std::vector<double> counts;
    ByWeight by_weight{};
    std::vector<Event> events;

    void add(std::span<const Peak> clip, const TrackPeaks& track, std::int64_t offset) {
        const std::int64_t end = track.end_time();
        find_events(
            clip, track,
            [&](std::uint32_t time) {
                const std::int64_t wrapped = (time + offset) % end;
                return wrapped < 0 ? wrapped + end : wrapped;
            },
            events);
        for (const Event& e : events) {
            by_weight[e.weight] += 1;
        }
        counts.push_back(static_cast<double>(events.size()));
    }
};

// The mean of the Poisson distribution that has these counts' upper quarter, or their mean where
// that is larger. The largest twentieth is left out: where the piece truly repeats itself.
double explain_upper_counts(std::vector<double>& counts) {
    std::sort(counts.begin(), counts.end());
    const std::size_t from = counts.size() * 27 / 32;
    const std::size_t to = counts.size() * 31 / 32;
    const double upper = std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(from),
                                         counts.begin() + static_cast<std::ptrdiff_t>(to), 0.0) /
                         static_cast<double>(to - from);
    const double mean =
        std::accumulate(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(to), 0.0) /
        static_cast<double>(to);
    // The root of a Poisson count is nearly normal with deviation 1/2, whatever its mean
    // (Anscombe 1948); between the quantiles 0.75 and 0.95 a normal variable averages 1.10.
    const double root = std::max(0.0, std::sqrt(upper) - 0.68);
    return std::max(mean, root * root);
}

// Events expected of one clip peak by chance.
struct Chance {
    double share = least_chance;
    ByWeight by_weight{};  // sums to `share`
};

Chance with_shape(double share, const ByWeight& seen) {
    const double all = std::accumulate(seen.begin(), seen.end(), prior_events);
    Chance out;
    out.share = share;
    for (std::size_t w = 0; w < event_weights; ++w) {
        out.by_weight[w] = share * (seen[w] + prior_events * usual_shape()[w]) / all;
    }
    return out;
}

// Offsets near by see the same instruments and key, those far away the whole track: the less
// favourable of the two.
Chance measure_chance(std::span<const Peak> clip, const TrackPeaks& track, std::int64_t offset) {
    Tally near;
    Tally far;
    for (std::size_t i = 0; i < shifts_near; ++i) {
        // 12 to 132 columns, by steps that no beat divides.
        const auto shift = static_cast<std::int64_t>(std::size_t{12} * time_steps + i * 31);
        near.add(clip, track, offset + shift);
        near.add(clip, track, offset - shift);
    }
    for (std::size_t i = 0; i < shifts_far; ++i) {
        far.add(clip, track,
                offset + track.end_time() * static_cast<std::int64_t>(i + 1) / (shifts_far + 1));
    }
    const double count =
        std::max(explain_upper_counts(near.counts), explain_upper_counts(far.counts));
    for (std::size_t w = 0; w < event_weights; ++w) {
        near.by_weight[w] += far.by_weight[w];
    }
    return with_shape(std::clamp(count / static_cast<double>(clip.size()), least_chance, 0.999),
                      near.by_weight);
}

// Times of clip peaks and track peaks that coincide differ by little; by how much on average.
double mean_residual(std::span<const Peak> clip, const TrackPeaks& track, std::int64_t offset,
                     std::int64_t tolerance) {
    std::int64_t sum = 0;
    std::int64_t count = 0;
    for (const Peak& peak : clip) {
        const std::int64_t time = peak.time + offset;
        if (const Peak* const found =
                track.near(time, peak.frequency, tolerance, frequency_tolerance)) {
            sum += static_cast<std::int64_t>(found->time) - time;
            ++count;
        }
    }
    return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count);
}

// A run of events, and the clip peaks that it spans: all are [begin, end).
struct Run {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t first_peak = 0;
    std::size_t end_peak = 0;
};

Run best_run(const std::vector<Event>& events, std::span<const Peak> clip) {
    double sum = 0;
    double best = 0;
    std::size_t begin = 0;
    Run run;
    for (std::size_t i = 0; i < events.size(); ++i) {
        if (i > begin) {
            sum -= lull_per_second * seconds_per_time_unit *
                   (clip[events[i].first].time - clip[events[i - 1].first].time);
        }
        if (sum <= 0) {
            sum = 0;
            begin = i;
        }
        sum += static_cast<double>(events[i].weight);
        if (sum > best && clip[events[i].last].time - clip[events[begin].first].time >= least_run) {
            best = sum;
            run = {begin, i + 1, events[begin].first, events[i].last + 1};
        }
    }
    return run;
}

// Little in each of many peaks counts for nothing: pieces made of the same samples at the same beat
// coincide at a few lucky offsets, which 64 others need not have met, by 0.04 to 0.1 nats a peak;
// the same recording under babble 3 dB louder has 0.1 to 0.2.
double evidence_of(const std::vector<Event>& events, const Run& run, const Chance& chance) {
    std::size_t score = 0;
    for (std::size_t i = run.begin; i < run.end; ++i) {
        score += events[i].weight;
    }
    const auto peaks = static_cast<double>(run.end_peak - run.first_peak);
    if (static_cast<double>(score) * nats_per_weight < least_nats_per_peak * peaks) {
        return 0;
    }
    ByWeight expected = chance.by_weight;
    for (double& e : expected) {
        e *= peaks;
    }
    return surprise(score, expected);
}

struct Verdict {
    double evidence = 0;
    Run run;
};

// The whole overlap, or its best run at the price of choosing it: whichever tells more.
Verdict judge(const std::vector<Event>& events, std::span<const Peak> clip, const Chance& chance) {
    if (events.empty()) {
        return {};
    }
    Verdict whole;
    whole.run = {0, events.size(), 0, clip.size()};
    whole.evidence = evidence_of(events, whole.run, chance);
    const auto n = static_cast<double>(events.size());
    Verdict best;
    best.run = best_run(events, clip);
    best.evidence = evidence_of(events, best.run, chance) - std::log(n * (n + 1) / 2);
    return best.evidence > whole.evidence ? best : whole;
}

// The part of the clip that lies inside the track.
std::span<const Peak> inside_track(std::span<const Peak> clip, const TrackPeaks& track,
                                   std::int64_t offset) {
    const auto before = [](const Peak& p, std::int64_t time) {
        return static_cast<std::int64_t>(p.time) < time;
    };
    const auto from = std::lower_bound(clip.begin(), clip.end(), -offset, before);
    const auto to = std::lower_bound(from, clip.end(), track.end_time() - offset, before);
    return {from, to};
}

}  // namespace

Alignment align(std::span<const Peak> clip, const TrackPeaks& track, std::int64_t offset_time,
                double wanted_evidence) {
    const double guess = mean_residual(clip, track, offset_time, first_time_tolerance);
    const std::int64_t offset = offset_time + std::llround(guess);
    const std::span<const Peak> inside = inside_track(clip, track, offset);
    std::vector<Event> events;
    find_events(
        inside, track, [&](std::uint32_t time) { return time + offset; }, events);
    Alignment out;
    out.offset_time =
        static_cast<double>(offset) + mean_residual(clip, track, offset, time_tolerance);
    // Most candidates could not pass if chance were as rare as it ever is: 64 counts are saved.
    if (events.empty() ||
        judge(events, inside, with_shape(least_chance, {})).evidence < wanted_evidence) {
        return out;
    }
    const Chance chance = measure_chance(inside, track, offset);
    const Verdict verdict = judge(events, inside, chance);
    if (!(verdict.evidence > 0)) {
        return out;
    }
    out.compared = static_cast<std::uint32_t>(verdict.run.end_peak - verdict.run.first_peak);
    for (std::size_t i = verdict.run.begin; i < verdict.run.end; ++i) {
        out.coinciding += static_cast<std::uint32_t>(events[i].count);
    }
    out.chance = chance.share;
    out.evidence = verdict.evidence;
    out.first_time = inside[events[verdict.run.begin].first].time;
    out.last_time = inside[events[verdict.run.end - 1].last].time;
    return out;
}

double false_positive_bound(double evidence, double places) noexcept {
    // Two tests were made at each place: the whole clip, and its best run.
    return std::min(1.0, 2 * places * std::exp(-evidence));
}

double evidence_for(double most, double places) noexcept {
    return std::log(2 * places / most);
}

}  // namespace sonogate::fingerprint
