// Idea: with n clip peaks inside the track and a chance p that one falls on a track peak, k
// coincidences or more have probability at most exp(−n·KL(k/n ‖ p)) (Chernoff). p is not computed
// from a model but counted: the same clip against the same track at 64 other offsets. So a clip
// of one held note, or a track with few frequencies, raises its own bar.
//
// Peaks of music are not independent, and two ways in which they are not are answered here. Two
// pieces of one tempo coincide at every third offset and nowhere else, and a candidate is always
// one where they do: so p is what the upper counts say, as if they were Poisson, not their mean.
// And one note of the same pitch makes all its overtones coincide at once: so of an eighth of a
// second three coincidences count, no more. Without these two, 3 of 420 clips of unknown music got
// a bound below 1e-6, the smallest 8e-13, and generated music of one scale got 3e-10; with them
// the smallest is 0.03, for a tenth of the right answers to 3 s of noise and none to clean clips.
// (Dividing by the variance of the counts instead lost a tenth of the clean ones: offsets at which
// a piece truly repeats itself blow it up.)
//
// A clip may be partly in the track: the best run of peaks (maximum subarray of per-peak log
// likelihood ratios, Bentley 1984) is tested as well, at the price of the n²/2 runs it was
// chosen from.
//
// Cost: (1 + 64) × n look-ups of about two peaks each: some 50 µs for 5 s of clip.
#include "fingerprint/score.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

namespace sonogate::fingerprint {
namespace {

constexpr std::int64_t time_tolerance = 5;        // 1.25 columns
constexpr std::int64_t first_time_tolerance = 8;  // while the offset is a guess
constexpr int frequency_tolerance = 6;            // 0.75 bins
constexpr std::uint32_t moment_time = 32;         // 8 columns, 128 ms
constexpr std::size_t most_of_a_moment = 3;
constexpr double least_share =
    0.04;  // of clip peaks that coincide: babble at -3 dB leaves 0.04 to 0.1
constexpr double least_chance = 0.002;   // 30 peaks a second spread evenly have 0.004
constexpr std::size_t shifts_near = 16;  // on either side
constexpr std::size_t shifts_far = 32;
constexpr double run_hit_share = 0.3;  // what a run is taken to have where it matches

// n·KL(k/n ‖ p), 0 where k/n ≤ p.
double surprise(double k, double n, double p) noexcept {
    if (n <= 0 || k <= n * p) {
        return 0;
    }
    const double q = k / n;
    const double missed = q < 1 ? (1 - q) * std::log((1 - q) / (1 - p)) : 0;
    return n * (q * std::log(q / p) + missed);
}

// The evidence of k coincidences of n peaks. A few in a hundred of many count for nothing: where a
// track has rare moments that coincide by the dozen, 64 offsets need not have met one.
double evidence_of(std::size_t k, std::size_t n, double p) noexcept {
    const auto hits = static_cast<double>(k);
    const auto all = static_cast<double>(n);
    return hits < least_share * all ? 0 : surprise(hits, all, p);
}

// Counts coincidences, but of each moment of the clip only the first few.
class MomentCounter {
  public:
    // A peak of the clip coincides: true where it counts. Times ascend.
    bool count(std::uint32_t time) noexcept {
        if (const std::uint32_t moment = time / moment_time; moment != moment_) {
            moment_ = moment;
            in_moment_ = 0;
        }
        return ++in_moment_ <= most_of_a_moment;
    }

  private:
    std::uint32_t moment_ = 0xffffffff;
    std::size_t in_moment_ = 0;
};

std::size_t count_shifted(std::span<const Peak> clip, const TrackPeaks& track,
                          std::int64_t offset) {
    const std::int64_t end = track.end_time();
    std::size_t count = 0;
    MomentCounter moments;
    for (const Peak& peak : clip) {
        std::int64_t time = (peak.time + offset) % end;
        time += time < 0 ? end : 0;
        if (track.near(time, peak.frequency, time_tolerance) != nullptr &&
            moments.count(peak.time)) {
            ++count;
        }
    }
    return count;
}

// The mean of the Poisson distribution that has these counts' upper quarter, or their mean where
// that is larger. The largest twentieth is left out: where the piece truly repeats itself.
double explain_upper_counts(std::span<double> counts) {
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

// The share of clip peaks that coincide by chance. Offsets near by see the same instruments and
// key, those far away the whole track: the less favourable of the two.
double measure_chance(std::span<const Peak> clip, const TrackPeaks& track, std::int64_t offset) {
    std::array<double, 2 * shifts_near> near{};
    std::array<double, shifts_far> far{};
    for (std::size_t i = 0; i < shifts_near; ++i) {
        // 12 to 132 columns, by steps that no beat divides.
        const auto shift = static_cast<std::int64_t>(std::size_t{12} * time_steps + i * 31);
        // cppcheck takes the first factor for the whole size of `near`.
        // cppcheck-suppress containerOutOfBounds
        near[2 * i] = static_cast<double>(count_shifted(clip, track, offset + shift));
        // cppcheck-suppress containerOutOfBounds
        near[2 * i + 1] = static_cast<double>(count_shifted(clip, track, offset - shift));
    }
    for (std::size_t i = 0; i < shifts_far; ++i) {
        const std::int64_t shift =
            track.end_time() * static_cast<std::int64_t>(i + 1) / (shifts_far + 1);
        far[i] = static_cast<double>(count_shifted(clip, track, offset + shift));
    }
    const double count = std::max(explain_upper_counts(near), explain_upper_counts(far));
    return std::clamp(count / static_cast<double>(clip.size()), least_chance, 0.999);
}

// Times of clip peaks and track peaks that coincide differ by little; by how much on average.
double mean_residual(std::span<const Peak> clip, const TrackPeaks& track, std::int64_t offset,
                     std::int64_t tolerance) {
    std::int64_t sum = 0;
    std::int64_t count = 0;
    for (const Peak& peak : clip) {
        const std::int64_t time = peak.time + offset;
        if (const Peak* const found = track.near(time, peak.frequency, tolerance)) {
            sum += static_cast<std::int64_t>(found->time) - time;
            ++count;
        }
    }
    return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count);
}

// A run of clip peaks: [begin, end) of the hits.
struct Run {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t hits = 0;
};

Run best_run(const std::vector<char>& hits, double chance) {
    const double p = std::min(chance, run_hit_share / 2);
    const double hit = std::log(run_hit_share / p);
    const double miss = std::log((1 - run_hit_share) / (1 - p));
    double sum = 0;
    double best = 0;
    std::size_t begin = 0;
    Run run;
    for (std::size_t i = 0; i < hits.size(); ++i) {
        sum += hits[i] != 0 ? hit : miss;
        if (sum <= 0) {
            sum = 0;
            begin = i + 1;
        } else if (sum > best) {
            best = sum;
            run = {begin, i + 1, 0};
        }
    }
    run.hits = static_cast<std::size_t>(
        std::count(hits.begin() + static_cast<std::ptrdiff_t>(run.begin),
                   hits.begin() + static_cast<std::ptrdiff_t>(run.end), 1));
    return run;
}

struct Verdict {
    double evidence = 0;
    Run run;
};

// The whole overlap, or its best run at the price of choosing it: whichever tells more.
Verdict judge(const std::vector<char>& hits, double chance) {
    Verdict whole;
    whole.run = {0, hits.size(), static_cast<std::size_t>(std::count(hits.begin(), hits.end(), 1))};
    if (whole.run.hits == 0) {
        return whole;
    }
    const auto n = static_cast<double>(hits.size());
    whole.evidence = evidence_of(whole.run.hits, hits.size(), chance);
    Verdict best;
    best.run = best_run(hits, chance);
    best.evidence = evidence_of(best.run.hits, best.run.end - best.run.begin, chance) -
                    std::log(n * (n + 1) / 2);
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

std::vector<char> coincidences(std::span<const Peak> clip, const TrackPeaks& track,
                               std::int64_t offset) {
    std::vector<char> hits(clip.size());
    MomentCounter moments;
    for (std::size_t i = 0; i < clip.size(); ++i) {
        hits[i] = track.near(clip[i].time + offset, clip[i].frequency, time_tolerance) != nullptr &&
                  moments.count(clip[i].time);
    }
    return hits;
}

}  // namespace

TrackPeaks::TrackPeaks(Fingerprint fingerprint)
    : fingerprint_(std::move(fingerprint)),
      end_time_(fingerprint_.peaks.empty() ? 1 : fingerprint_.peaks.back().time + 1) {
    const auto columns = static_cast<std::size_t>(end_time_ / time_steps) + 2;
    first_of_column_.resize(columns, 0);
    std::size_t column = 0;
    for (std::size_t i = 0; i < fingerprint_.peaks.size(); ++i) {
        const std::size_t mine = fingerprint_.peaks[i].time / time_steps;
        while (column <= mine) {
            first_of_column_[column++] = static_cast<std::uint32_t>(i);
        }
    }
    while (column < columns) {
        first_of_column_[column++] = static_cast<std::uint32_t>(fingerprint_.peaks.size());
    }
}

const Peak* TrackPeaks::near(std::int64_t time, std::uint16_t frequency,
                             std::int64_t tolerance) const noexcept {
    const std::int64_t first = std::max<std::int64_t>(time - tolerance, 0);
    const std::int64_t last = time + tolerance;
    if (last < 0 || first >= end_time_) {
        return nullptr;
    }
    const Peak* best = nullptr;
    std::int64_t best_distance = tolerance + 1;
    const std::vector<Peak>& all = fingerprint_.peaks;
    for (std::size_t i = first_of_column_[static_cast<std::size_t>(first / time_steps)];
         i < all.size() && all[i].time <= last; ++i) {
        const std::int64_t distance = std::abs(static_cast<std::int64_t>(all[i].time) - time);
        const int apart = static_cast<int>(all[i].frequency) - static_cast<int>(frequency);
        if (distance < best_distance && std::abs(apart) <= frequency_tolerance) {
            best = &all[i];
            best_distance = distance;
        }
    }
    return best;
}

Alignment align(std::span<const Peak> clip, const TrackPeaks& track, std::int64_t offset_time,
                double wanted_evidence) {
    const double guess = mean_residual(clip, track, offset_time, first_time_tolerance);
    const std::int64_t offset = offset_time + std::llround(guess);
    const std::span<const Peak> inside = inside_track(clip, track, offset);
    const std::vector<char> hits = coincidences(inside, track, offset);
    Alignment out;
    out.offset_time =
        static_cast<double>(offset) + mean_residual(clip, track, offset, time_tolerance);
    // Most candidates could not pass if chance were as rare as it ever is: 64 counts are saved.
    if (judge(hits, least_chance).evidence < wanted_evidence) {
        return out;
    }
    const double chance = measure_chance(inside, track, offset);
    const Verdict verdict = judge(hits, chance);
    if (verdict.run.hits == 0) {
        return out;
    }
    std::size_t first = verdict.run.begin;
    std::size_t last = verdict.run.end - 1;
    while (hits[first] == 0) {
        ++first;
    }
    while (hits[last] == 0) {
        --last;
    }
    out.compared = static_cast<std::uint32_t>(verdict.run.end - verdict.run.begin);
    out.coinciding = static_cast<std::uint32_t>(verdict.run.hits);
    out.chance = chance;
    out.evidence = verdict.evidence;
    out.first_time = inside[first].time;
    out.last_time = inside[last].time;
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
