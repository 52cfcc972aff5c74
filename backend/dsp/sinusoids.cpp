#include "dsp/sinusoids.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>

#include "dsp/lobe.hpp"
#include "dsp/window_spectrum.hpp"

namespace sonogate::dsp {

namespace {

constexpr std::size_t max_candidates = 4096;
constexpr std::size_t max_components = 256;
constexpr std::size_t min_components =
    32;                               // more than were asked for, so that neighbours are taken away
constexpr double range_power = 1e-6;  // 60 dB
constexpr double above_median_power = 3.9810717;  // 6 dB
constexpr double above_leakage_power = 2.0;       // 3 dB
constexpr double dip_power = 0.5;                 // 3 dB down before anything higher
constexpr double skirt_margin_power = 4.0;        // 6 dB
constexpr double negligible_power = 1e-8;  // leakage that shifts nothing by more than 1e-4 of a bin
constexpr double dip_reach_bins = 16.0;
constexpr std::size_t side_bins =
    48;  // enough that the lobes of a few close neighbours are the smaller half
constexpr int max_rounds = 8;
constexpr double settled_bins = 1e-6;

struct Candidate {
    std::size_t bin;
    double power;  // at the top of a parabola through three bins: for sorting
};

// A sinusoid being fitted. Bin 0 stands for a constant: it leaks as others do, but is nobody's
// peak.
struct Component {
    std::size_t bin = 0;
    double frequency_bins = 0.0;
    double power = 0.0;              // amplitude²
    std::complex<double> amplitude;  // with phase; one block only
    double skirt_power =
        0.0;  // one main-lobe half-width away, beyond what a stationary one has there
};

class Search {
  public:
    explicit Search(const Spectrum& spectrum)
        : spectrum_(spectrum),
          window_(spectrum.window, spectrum.window_length),
          padding_(static_cast<double>(spectrum.fft_size) /
                   static_cast<double>(spectrum.window_length)),
          step_(std::max<std::ptrdiff_t>(1, std::lround(padding_))),
          coherent_(!spectrum.single.empty()) {}

    std::vector<Sinusoid> run(std::size_t limit) {
        add_constant();
        const std::vector<Candidate> candidates = strongest_maxima();
        const std::size_t wanted = std::clamp(limit, min_components, max_components);
        for (const Candidate& candidate : candidates) {
            if (components_.size() >= wanted + 1 ||
                candidate.power < range_power * candidates.front().power) {
                break;
            }
            if (stands_out(candidate.bin) && above_leakage(candidate)) {
                add(candidate.bin);
            }
        }
        settle();
        return result(limit);
    }

  private:
    // The spectrum of a real signal goes on behind both of its ends as its mirror image.
    std::size_t mirrored(std::ptrdiff_t k) const noexcept {
        const auto period = static_cast<std::ptrdiff_t>(spectrum_.fft_size);
        k = ((k % period) + period) % period;
        return static_cast<std::size_t>(k <= period / 2 ? k : period - k);
    }
    double power(std::ptrdiff_t k) const noexcept { return spectrum_.power[mirrored(k)]; }

    // The power of a bin with the leakage of all components but `except`'s own positive-frequency
    // part taken away.
    struct Bin {
        std::complex<double> value;
        double power;
    };

    std::vector<Candidate> strongest_maxima() const;
    bool stands_out(std::size_t bin) const;
    bool dips_on_both_sides(std::size_t bin) const;
    bool above_leakage(const Candidate& candidate) const;
    void add_constant();
    void add(std::size_t bin);
    double excess_beside(const Component& component) const;
    Bin without_others(std::ptrdiff_t k, std::size_t except) const;
    double fit(std::size_t index);
    void settle();
    std::vector<Sinusoid> result(std::size_t limit) const;

    double distance(double from_bins, double to_bins) const noexcept {
        return wrapped(from_bins - to_bins, static_cast<double>(spectrum_.fft_size)) / padding_;
    }

    const Spectrum& spectrum_;
    WindowSpectrum window_;
    double padding_;       // bins a window bin
    std::ptrdiff_t step_;  // about one window bin, in bins
    bool coherent_;
    std::vector<Component> components_;  // the first one is the constant
};

std::vector<Candidate> Search::strongest_maxima() const {
    std::vector<Candidate> out;
    const auto last = static_cast<std::ptrdiff_t>(spectrum_.power.size()) - 1;
    for (std::ptrdiff_t k = 1; k <= last; ++k) {
        const double left = power(k - 1);
        const double here = power(k);
        const double right = power(k + 1);
        if (here <= left || here < right || here <= 1e-20) {
            continue;  // 1e-20: the floor of all levels, −200 dB
        }
        const double a = std::log(std::max(left, 1e-30));
        const double b = std::log(here);
        const double c = std::log(std::max(right, 1e-30));
        const double bend = a - 2.0 * b + c;
        const double rise = bend < 0.0 ? -(a - c) * (a - c) / (8.0 * bend) : 0.0;
        out.push_back({static_cast<std::size_t>(k), std::exp(b + std::min(rise, 1.0))});
    }
    const auto stronger = [](const Candidate& x, const Candidate& y) {
        return x.power != y.power ? x.power > y.power : x.bin < y.bin;
    };
    const std::size_t kept = std::min(out.size(), max_candidates);
    std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(kept), out.end(),
                      stronger);
    out.resize(kept);
    return out;
}

// 6 dB above the median on each side, and a dip on each side before anything higher.
bool Search::stands_out(std::size_t bin) const {
    const auto k = static_cast<std::ptrdiff_t>(bin);
    const auto begin = std::lround(window_.half_bins() * padding_);
    for (const std::ptrdiff_t side : {-1, 1}) {
        std::array<double, side_bins> values{};
        for (std::size_t i = 0; i < side_bins; ++i) {
            values[i] = power(k + side * (begin + static_cast<std::ptrdiff_t>(i) * step_));
        }
        const auto middle = values.begin() + side_bins / 2;
        std::nth_element(values.begin(), middle, values.end());
        if (power(k) < above_median_power * *middle) {
            return false;
        }
    }
    return dips_on_both_sides(bin);
}

bool Search::dips_on_both_sides(std::size_t bin) const {
    const auto k = static_cast<std::ptrdiff_t>(bin);
    const double here = power(k);
    const auto reach = std::lround((window_.half_bins() + dip_reach_bins) * padding_);
    for (const std::ptrdiff_t side : {-1, 1}) {
        double lowest = here;
        for (std::ptrdiff_t i = 1; i <= reach && lowest > dip_power * here; ++i) {
            const double there = power(k + side * i);
            if (there > here) {
                return false;
            }
            lowest = std::min(lowest, there);
        }
        if (lowest > dip_power * here) {
            return false;
        }
    }
    return true;
}

bool Search::above_leakage(const Candidate& candidate) const {
    const auto at = static_cast<double>(candidate.bin);
    double leaked_amplitude = 0.0;
    double skirts_power = 0.0;
    for (const Component& component : components_) {
        if (component.power <= 0.0) {
            continue;
        }
        const double near = distance(at, component.frequency_bins);
        const double image = distance(at, -component.frequency_bins);
        leaked_amplitude += std::sqrt(component.power * leakage_bound(spectrum_.window, near));
        if (component.bin != 0) {
            leaked_amplitude += std::sqrt(component.power * leakage_bound(spectrum_.window, image));
        }
        const double widths = std::max(1.0, std::abs(near) / window_.half_bins());
        skirts_power += component.skirt_power / (widths * widths);
    }
    return candidate.power >
           above_leakage_power * (leaked_amplitude * leaked_amplitude + skirts_power);
}

void Search::add_constant() {
    Component constant;
    if (power(0) > power(1)) {
        constant.power = power(0);
        constant.amplitude = coherent_ ? std::complex<double>(std::sqrt(constant.power)) : 0.0;
    }
    components_.push_back(constant);
    if (coherent_ && constant.power > 0.0) {
        fit(0);
    }
}

void Search::add(std::size_t bin) {
    Component component;
    component.bin = bin;
    component.frequency_bins = static_cast<double>(bin);
    components_.push_back(component);
    fit(components_.size() - 1);
    components_.back().skirt_power = excess_beside(components_.back());
}

// Power at the foot of the main lobe that a stationary sinusoid does not have there; on the side
// with less of it, since the other one may be a neighbour's. A tone that begins or ends within the
// block has it, and falls with 6 dB an octave.
double Search::excess_beside(const Component& component) const {
    const auto k = static_cast<std::ptrdiff_t>(component.bin);
    const auto foot = std::lround(window_.half_bins() * padding_);
    std::array<double, 2> excess{};
    for (std::size_t side = 0; side < 2; ++side) {
        for (std::ptrdiff_t i = foot; i <= foot + step_; ++i) {
            const std::ptrdiff_t at = side == 0 ? k - i : k + i;
            const double near = distance(static_cast<double>(at), component.frequency_bins);
            const double stationary = component.power * leakage_bound(spectrum_.window, near);
            excess[side] = std::max(excess[side], power(at) - stationary);
        }
    }
    return skirt_margin_power * std::max(0.0, std::min(excess[0], excess[1]));
}

Search::Bin Search::without_others(std::ptrdiff_t k, std::size_t except) const {
    const std::size_t bin = mirrored(k);
    const bool behind =
        static_cast<std::ptrdiff_t>(bin) != k;  // a mirrored bin holds the conjugate
    Bin out{0.0, spectrum_.power[bin]};
    if (coherent_) {
        const std::complex<double> raw = spectrum_.single[bin];
        out.value = (behind ? std::conj(raw) : raw) * (2.0 / window_.sum());
    }
    const auto at = static_cast<double>(k);
    const double matters = negligible_power * spectrum_.power[components_[except].bin];
    for (std::size_t j = 0; j < components_.size(); ++j) {
        const Component& component = components_[j];
        for (const bool image : {false, true}) {
            if ((j == except && !image) || (component.bin == 0 && image)) {
                continue;
            }
            const double x =
                distance(at, image ? -component.frequency_bins : component.frequency_bins);
            if (component.power * leakage_bound(spectrum_.window, x) < matters) {
                continue;
            }
            if (coherent_) {
                out.value -=
                    (image ? std::conj(component.amplitude) : component.amplitude) * window_.at(x);
            } else {
                out.power -= component.power * window_.power_at(x);
            }
        }
    }
    out.power = coherent_ ? std::norm(out.value) : std::max(out.power, 0.0);
    return out;
}

// Fits one component to what the others leave; returns how far its frequency moved, in window bins.
double Search::fit(std::size_t index) {
    Component& component = components_[index];
    const auto k = static_cast<std::ptrdiff_t>(component.bin);
    const Bin centre = without_others(k, index);
    if (index == 0) {
        component.power = centre.power;
        component.amplitude = centre.value;
        return 0.0;
    }
    const Bin left = without_others(k - step_, index);
    const Bin right = without_others(k + step_, index);
    const bool rightwards = right.power >= left.power;
    const Bin& neighbour = rightwards ? right : left;
    if (centre.power <= 0.0) {
        component.power = 0.0;
        component.amplitude = 0.0;
        return 0.0;
    }
    const double step = static_cast<double>(step_) / padding_;
    const double offset = offset_from_ratio(window_, step, neighbour.power / centre.power);
    const double before = component.frequency_bins;
    component.frequency_bins = static_cast<double>(k) + (rightwards ? offset : -offset) * padding_;
    const double centre_model = window_.power_at(offset);
    const double neighbour_model = window_.power_at(step - offset);
    component.power = (centre.power + neighbour.power) / (centre_model + neighbour_model);
    if (coherent_) {
        const double sign = rightwards ? 1.0 : -1.0;
        const std::complex<double> a = window_.at(-sign * offset);
        const std::complex<double> b = window_.at(sign * (step - offset));
        component.amplitude = (std::conj(a) * centre.value + std::conj(b) * neighbour.value) /
                              (centre_model + neighbour_model);
        component.power = std::norm(component.amplitude);
    }
    return std::abs(component.frequency_bins - before) / padding_;
}

void Search::settle() {
    for (int round = 0; round < max_rounds; ++round) {
        double moved = 0.0;
        for (std::size_t i = components_[0].power > 0.0 ? 0 : 1; i < components_.size(); ++i) {
            moved = std::max(moved, fit(i));
        }
        if (moved < settled_bins) {
            return;
        }
    }
}

std::vector<Sinusoid> Search::result(std::size_t limit) const {
    double largest = 0.0;
    for (std::size_t i = 1; i < components_.size(); ++i) {
        largest = std::max(largest, components_[i].power);
    }
    std::vector<Sinusoid> out;
    for (std::size_t i = 1; i < components_.size(); ++i) {
        const Component& component = components_[i];
        if (component.power > 0.0 && component.power >= range_power * largest) {
            out.push_back({component.frequency_bins, std::sqrt(component.power),
                           coherent_ ? std::arg(component.amplitude) : 0.0});
        }
    }
    std::sort(out.begin(), out.end(), [](const Sinusoid& a, const Sinusoid& b) {
        return a.amplitude != b.amplitude ? a.amplitude > b.amplitude
                                          : a.frequency_bins < b.frequency_bins;
    });
    out.resize(std::min(out.size(), limit));
    return out;
}

}  // namespace

std::vector<Sinusoid> find_sinusoids(const Spectrum& spectrum, std::size_t limit) {
    if (limit == 0 || spectrum.power.size() < 3 || spectrum.window_length < 2) {
        return {};
    }
    return Search(spectrum).run(limit);
}

}  // namespace sonogate::dsp
