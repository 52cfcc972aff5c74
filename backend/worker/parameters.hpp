// What parameter values mean: ranges, defaults, exact parsing.
//
// For: every operation of a worker. Not for: names (base/parameter.hpp) nor where values come from
// (worker/envelope.hpp). A value that is empty, out of range, not finite, hexadecimal or followed
// by anything is invalid_parameter, named.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "base/result.hpp"
#include "dsp/window.hpp"
#include "shm/params.hpp"

namespace sonogate::worker {

// Decimal integers, without sign or space. nullopt where the parameter is absent.
Result<std::optional<std::uint64_t>> integer_of(const shm::Params& params, Parameter parameter,
                                                std::uint64_t min, std::uint64_t max);
// Decimal fractions, exponent allowed, finite.
Result<std::optional<double>> number_of(const shm::Params& params, Parameter parameter, double min,
                                        double max);
// `true` or `false`.
Result<std::optional<bool>> flag_of(const shm::Params& params, Parameter parameter);

enum class Channel : std::uint8_t { mix, left, right };

// The part of the audio to use. `left` is the first channel; `right` the second, or the only one;
// `mix` their mean.
struct Selection {
    double start_s = 0.0;              // 0 to 1e7
    std::optional<double> duration_s;  // above 0, to 1e7
    Channel channel = Channel::mix;
    bool whole() const noexcept { return start_s == 0.0 && !duration_s; }
};
Result<Selection> selection_of(const shm::Params& params);

enum class SpectrumKind : std::uint8_t { none, mean };

struct AnalyzeParameters {
    std::uint64_t fft_size = 4096;  // 0 = the whole signal
    std::uint64_t hop = 0;  // 1 to fft_size, set also where the default is used; 0 if fft_size is 0
    dsp::WindowKind window = dsp::WindowKind::hann;
    std::uint32_t peaks = 48;
    SpectrumKind spectrum = SpectrumKind::none;
    bool levels = true;
    bool spectral = true;
};
Result<AnalyzeParameters> analyze_parameters_of(const shm::Params& params);

}  // namespace sonogate::worker
