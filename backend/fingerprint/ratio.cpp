#include "fingerprint/ratio.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace sonogate::fingerprint {
namespace {

// Half a step of frequency moves the highest bin by 1.2 bins, one in the middle by half a bin.
constexpr double step = 0.005;
constexpr double tempo_step = 0.01;
constexpr int pitch_steps = 13;  // 6.5 %: a semitone is 5.9 %
constexpr int speed_steps = 10;
constexpr int tempo_steps = 7;

std::vector<Ratio> make_grid() {
    std::vector<Ratio> grid;
    for (int i = -speed_steps; i <= speed_steps; ++i) {
        grid.push_back({1 + i * step, 1 + i * step});
    }
    for (int i = -tempo_steps; i <= tempo_steps; ++i) {
        grid.push_back({1 + i * tempo_step, 1});
    }
    for (int i = -pitch_steps; i <= pitch_steps; ++i) {
        grid.push_back({1, 1 + i * step});
    }
    std::erase(grid, Ratio{});
    return grid;
}

// How a pair of peaks that may be the same misses the guess.
struct Residual {
    double time;       // of the clip, from the middle
    double late;       // units of Peak::time
    double frequency;  // of the track
    double above;      // units of Peak::frequency
};

constexpr std::int64_t widest_time = 16;
constexpr std::int32_t widest_frequency = 8;

std::vector<Residual> residuals_of(std::span<const Peak> clip, const TrackPeaks& track,
                                   const Fit& guess, double middle) {
    std::vector<Residual> out;
    for (const Peak& peak : clip) {
        const double time = peak.time * guess.ratio.tempo + guess.offset_time;
        const double frequency = peak.frequency / guess.ratio.pitch;
        const Peak* const found =
            track.near(std::llround(time), static_cast<std::int32_t>(std::lround(frequency)),
                       widest_time, widest_frequency);
        if (found != nullptr) {
            out.push_back(
                {peak.time - middle, found->time - time, frequency, found->frequency - frequency});
        }
    }
    return out;
}

struct Line {
    double slope = 0;
    double height = 0;

    bool passes(const Residual& r, double tolerance) const noexcept {
        return std::abs(r.late - height - slope * r.time) <= tolerance;
    }
};

// Of lines in a grid the one that most pairs lie on.
Line best_line(const std::vector<Residual>& residuals) {
    constexpr double tolerance = 2.5;
    constexpr int slopes = 6;
    constexpr double slope_step = 0.001;
    constexpr int heights = 5;
    constexpr double height_step = 2;
    Line best;
    std::ptrdiff_t most = 0;
    for (int s = -slopes; s <= slopes; ++s) {
        for (int h = -heights; h <= heights; ++h) {
            const Line line{s * slope_step, h * height_step};
            const auto on =
                std::count_if(residuals.begin(), residuals.end(),
                              [&](const Residual& r) { return line.passes(r, tolerance); });
            if (on > most) {
                most = on;
                best = line;
            }
        }
    }
    return best;
}

// The least squares' line through the pairs that lie near this one.
Line through_nearest(const std::vector<Residual>& residuals, const Line& line, double tolerance) {
    double n = 0;
    double x = 0;
    double y = 0;
    double xx = 0;
    double xy = 0;
    for (const Residual& r : residuals) {
        if (line.passes(r, tolerance)) {
            n += 1;
            x += r.time;
            y += r.late;
            xx += r.time * r.time;
            xy += r.time * r.late;
        }
    }
    const double spread = n * xx - x * x;
    if (n < 3 || !(spread > 0)) {
        return line;
    }
    const double slope = (n * xy - x * y) / spread;
    return {slope, (y - slope * x) / n};
}

double frequency_excess(const std::vector<Residual>& residuals, const Line& line,
                        double tolerance) {
    double ff = 0;
    double fa = 0;
    for (const Residual& r : residuals) {
        if (line.passes(r, tolerance)) {
            ff += r.frequency * r.frequency;
            fa += r.frequency * r.above;
        }
    }
    return ff > 0 ? fa / ff : 0;
}

}  // namespace

std::vector<Peak> at_ratio(std::span<const Peak> clip, Ratio ratio) {
    std::vector<Peak> out;
    out.reserve(clip.size());
    for (const Peak& peak : clip) {
        const auto frequency = std::llround(peak.frequency / ratio.pitch);
        if (frequency >= 0 && frequency <= max_frequency) {
            out.push_back({static_cast<std::uint32_t>(std::llround(peak.time * ratio.tempo)),
                           static_cast<std::uint16_t>(frequency), peak.strength});
        }
    }
    return out;
}

std::span<const Ratio> ratio_grid() {
    static const std::vector<Ratio> grid = make_grid();
    return grid;
}

Fit fit_ratio(std::span<const Peak> clip, const TrackPeaks& track, Fit guess) {
    if (clip.empty()) {
        return guess;
    }
    const double middle = (static_cast<double>(clip.front().time) + clip.back().time) / 2;
    constexpr std::array<double, 3> tolerances = {4, 3, 3};
    bool first = true;
    for (const double tolerance : tolerances) {
        const auto residuals = residuals_of(clip, track, guess, middle);
        Line line = first ? best_line(residuals) : Line{};
        first = false;
        line = through_nearest(residuals, line, tolerance);
        guess.ratio.pitch /= 1 + frequency_excess(residuals, line, tolerance);
        guess.ratio.tempo += line.slope;
        guess.offset_time += line.height - line.slope * middle;
    }
    return guess;
}

}  // namespace sonogate::fingerprint
