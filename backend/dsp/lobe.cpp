#include "dsp/lobe.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace sonogate::dsp {

namespace {

constexpr std::size_t table_steps_a_bin = 4;
constexpr std::size_t table_bins = 64;
using Table = std::array<double, table_bins * table_steps_a_bin + 1>;

Table make_table(WindowKind kind) noexcept {
    const WindowSpectrum window(kind, std::size_t{1} << 20U);  // long enough to be any long window
    Table table{};
    for (std::size_t i = 0; i < table.size(); ++i) {
        table[i] = window.power_envelope_at(static_cast<double>(i) / table_steps_a_bin);
    }
    return table;
}

const Table& table_of(WindowKind kind) noexcept {
    static const std::array<Table, 5> tables = {
        make_table(WindowKind::hann), make_table(WindowKind::hamming),
        make_table(WindowKind::blackman), make_table(WindowKind::blackmanharris),
        make_table(WindowKind::rect)};
    return tables[static_cast<std::size_t>(kind)];
}

}  // namespace

double offset_from_ratio(const WindowSpectrum& window, double step,
                         double neighbour_over_centre) noexcept {
    // Excess of the model's neighbour at an offset; grows with the offset across the main lobe.
    const auto excess = [&](double offset) {
        return window.power_at(step - offset) - neighbour_over_centre * window.power_at(offset);
    };
    const bool narrow =
        window.half_bins() <= step;  // the rectangle's neighbour would fall off the lobe
    double low = narrow ? 0.0 : -step / 4.0;
    double high = 3.0 * step / 4.0;
    double at_low = excess(low);
    double at_high = excess(high);
    if (at_low >= 0.0) {
        return low;
    }
    if (at_high <= 0.0) {
        return high;
    }
    // Regula falsi, Illinois variant (Dowell and Jarratt 1971): superlinear and never leaves the
    // bracket.
    constexpr int max_turns = 40;
    constexpr double tolerance = 1e-10;
    int side = 0;
    for (int turn = 0; turn < max_turns && high - low > tolerance; ++turn) {
        const double middle = (low * at_high - high * at_low) / (at_high - at_low);
        const double at_middle = excess(middle);
        if (std::abs(at_middle) < 1e-13) {
            return middle;
        }
        if (at_middle < 0.0) {
            low = middle;
            at_low = at_middle;
            at_high = side == -1 ? at_high / 2.0 : at_high;
            side = -1;
        } else {
            high = middle;
            at_high = at_middle;
            at_low = side == 1 ? at_low / 2.0 : at_low;
            side = 1;
        }
    }
    return (low + high) / 2.0;
}

double leakage_bound(WindowKind kind, double window_bins) noexcept {
    const Table& table = table_of(kind);
    const double x = std::abs(window_bins);
    if (x >= static_cast<double>(table_bins)) {
        const double beyond = static_cast<double>(table_bins) / x;
        return table.back() * beyond * beyond;  // no window falls slower than 6 dB an octave
    }
    return table[static_cast<std::size_t>(x * table_steps_a_bin)];
}

}  // namespace sonogate::dsp
