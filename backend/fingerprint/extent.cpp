// Idea: inside a play many of the clip's peaks fall on peaks of the track, outside only what chance
// gives. Each peak is a vote for one or the other, the logarithm of its likelihood ratio, and a
// bound lies where the sum of the votes, taken outwards from the middle of what is known, is
// largest (the most likely change point; Page 1954). So a few words over the music do not end a
// play, and a few coincidences after it do not prolong it.
//
// Cost: a look-up of about two peaks for each peak of the clip, and some more where it is known.
#include "fingerprint/extent.hpp"

#include <algorithm>
#include <cmath>

#include "fingerprint/evidence.hpp"

namespace sonogate::fingerprint {
namespace {

constexpr double least_chance_share = 0.002;
// What is asked of the fainter parts of a play that is loud elsewhere: fades, words over it.
constexpr double enough_share = 0.25;
constexpr double times_chance = 3;
constexpr int shifts = 8;  // offsets at which chance is counted, on either side

std::span<const Peak> between(std::span<const Peak> clip, Stretch stretch) {
    const auto first =
        std::lower_bound(clip.begin(), clip.end(), stretch.first_time,
                         [](const Peak& p, std::uint32_t time) { return p.time < time; });
    const auto end =
        std::upper_bound(first, clip.end(), stretch.last_time,
                         [](std::uint32_t time, const Peak& p) { return time < p.time; });
    return {first, end};
}

double share_at(std::span<const Peak> clip, const TrackPeaks& track, const Fit& fit) {
    const auto count = std::count_if(clip.begin(), clip.end(),
                                     [&](const Peak& p) { return coincides(p, track, fit); });
    return clip.empty() ? 0 : static_cast<double>(count) / static_cast<double>(clip.size());
}

// How often peaks coincide by chance: at offsets near by, where the same instruments play.
double chance_share(std::span<const Peak> clip, const TrackPeaks& track, const Fit& fit) {
    double sum = 0;
    for (int i = 0; i < shifts; ++i) {
        const double shift = 12.0 * time_steps + i * 31.0;  // no beat divides these
        sum += share_at(clip, track, {fit.ratio, fit.offset_time + shift});
        sum += share_at(clip, track, {fit.ratio, fit.offset_time - shift});
    }
    return std::max(sum / (2 * shifts), least_chance_share);
}

struct Votes {
    double hit = 0;
    double miss = 0;
};

Votes votes_of(double share, double chance) {
    const double inside = std::clamp(std::min(share, std::max(enough_share, times_chance * chance)),
                                     std::min(1.5 * chance, 0.95), 0.95);
    const double outside = std::min(chance, 0.6);
    return {std::log(inside / outside), std::log((1 - inside) / (1 - outside))};
}

// The time of the last peak of the run of peaks, from the first on, that has the largest sum.
template <typename Iterator>
std::uint32_t farthest(Iterator from, Iterator end, const TrackPeaks& track, const Fit& fit,
                       const Votes& votes, std::uint32_t otherwise) {
    double sum = 0;
    double best = 0;
    for (; from != end; ++from) {
        const bool hit = coincides(*from, track, fit);
        sum += hit ? votes.hit : votes.miss;
        if (hit && sum > best) {
            best = sum;
            otherwise = from->time;
        }
    }
    return otherwise;
}

}  // namespace

bool coincides(const Peak& peak, const TrackPeaks& track, const Fit& fit) noexcept {
    return track.near(std::llround(peak.time * fit.ratio.tempo + fit.offset_time),
                      static_cast<std::int32_t>(std::lround(peak.frequency / fit.ratio.pitch)),
                      time_tolerance, frequency_tolerance) != nullptr;
}

Stretch extent_of(std::span<const Peak> clip, const TrackPeaks& track, const Fit& fit,
                  Stretch known) {
    const std::span<const Peak> core = between(clip, known);
    if (core.empty()) {
        return known;
    }
    const Votes votes = votes_of(share_at(core, track, fit), chance_share(core, track, fit));
    const auto middle = static_cast<std::size_t>(core.data() - clip.data()) + core.size() / 2;
    const std::span<const Peak> before = clip.first(middle);
    const std::span<const Peak> after = clip.subspan(middle);
    return {farthest(before.rbegin(), before.rend(), track, fit, votes, clip[middle].time),
            farthest(after.begin(), after.end(), track, fit, votes, clip[middle].time)};
}

}  // namespace sonogate::fingerprint
