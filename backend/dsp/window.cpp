#include "dsp/window.hpp"

#include <cmath>
#include <numbers>

namespace sonogate::dsp {

namespace {

struct Row {
    WindowKind kind;
    std::string_view name;
    std::array<double, 4> terms;
    double half_bins;
};

// Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform", Proc.
// IEEE 66 (1978): Hamming with 0.54, "Blackman" rounded, and the four-term minimum
// "Blackman-Harris" of table I.
constexpr std::array<Row, 5> rows = {{
    {WindowKind::hann, "hann", {0.5, 0.5, 0.0, 0.0}, 2.0},
    {WindowKind::hamming, "hamming", {0.54, 0.46, 0.0, 0.0}, 2.0},
    {WindowKind::blackman, "blackman", {0.42, 0.5, 0.08, 0.0}, 3.0},
    {WindowKind::blackmanharris, "blackmanharris", {0.35875, 0.48829, 0.14128, 0.01168}, 4.0},
    {WindowKind::rect, "rect", {1.0, 0.0, 0.0, 0.0}, 1.0},
}};

const Row& row_of(WindowKind kind) noexcept {
    return rows[static_cast<std::size_t>(kind)];
}

}  // namespace

std::string_view name_of(WindowKind kind) noexcept {
    return row_of(kind).name;
}

std::optional<WindowKind> window_of(std::string_view name) noexcept {
    for (const Row& row : rows) {
        if (row.name == name) {
            return row.kind;
        }
    }
    return std::nullopt;
}

std::array<double, 4> window_terms(WindowKind kind) noexcept {
    return row_of(kind).terms;
}

double main_lobe_half_bins(WindowKind kind) noexcept {
    return row_of(kind).half_bins;
}

std::vector<float> make_window(WindowKind kind, std::size_t n) {
    const std::array<double, 4> a = window_terms(kind);
    std::vector<float> out(n);
    for (std::size_t i = 0; i < n; ++i) {
        const double t = 2.0 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n);
        const double c = std::cos(t);
        // cos 2t and cos 3t by Chebyshev: one cosine a sample
        out[i] = static_cast<float>(a[0] - a[1] * c + a[2] * (2.0 * c * c - 1.0) -
                                    a[3] * (4.0 * c * c - 3.0) * c);
    }
    return out;
}

}  // namespace sonogate::dsp
