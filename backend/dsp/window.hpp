// The windows that a block is weighted with before the FFT, and their spectra.
//
// For: blocks of the mean spectrum, landmarks. Not for: filters.
// All are cosine sums, DFT-periodic: w[i] = Σ_k (−1)^k a_k cos(2πki/n), i = 0 … n−1 (Harris 1978,
// section V), so that the transform of each is known in closed form at any frequency.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace sonogate::dsp {

enum class WindowKind : std::uint8_t { hann, hamming, blackman, blackmanharris, rect };

std::string_view name_of(WindowKind kind) noexcept;
std::optional<WindowKind> window_of(std::string_view name) noexcept;

// a_0 … a_3; zeros where the window has fewer terms.
std::array<double, 4> window_terms(WindowKind kind) noexcept;

// Half the width of the main lobe in bins: 1 for rect, 2, 2, 3, 4.
double main_lobe_half_bins(WindowKind kind) noexcept;

// n weights.
std::vector<float> make_window(WindowKind kind, std::size_t n);

}  // namespace sonogate::dsp
