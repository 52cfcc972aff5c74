// The names of all request parameters, numbered, so that a refusal can name one without text in
// shared memory.
//
// For: nginx (query arguments, multipart parts) and the worker (JSON members), which must agree on
// what a name is. Not for: ranges and defaults (worker/parameters.hpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sonogate {

// The numbers are part of the shared-memory layout: append, never renumber.
enum class Parameter : std::uint16_t {
    none = 0,
    start_s,
    duration_s,
    channel,  // common
    fft_size,
    hop,
    window,
    peaks,
    spectrum,
    features,  // analyze
    limit,
    max_false_positive,
    multi,      // identify
    algorithm,  // fingerprint
    track_id,
    title,
    artist,
    album,
    isrc,
    metadata,  // tracks
    cursor,
    q,  // track listing
    audio,
    fingerprint,
    upload_id,  // JSON members that are the input itself
    count_,
};

inline constexpr std::size_t parameter_count = static_cast<std::size_t>(Parameter::count_);

inline constexpr std::array<std::string_view, parameter_count> parameter_names = {
    "",         "start_s",   "duration_s", "channel",  "fft_size", "hop",
    "window",   "peaks",     "spectrum",   "features", "limit",    "max_false_positive",
    "multi",    "algorithm", "track_id",   "title",    "artist",   "album",
    "isrc",     "metadata",  "cursor",     "q",        "audio",    "fingerprint",
    "upload_id"};

// The name of a parameter; empty for `none` and for numbers that are none of ours.
constexpr std::string_view name_of(Parameter parameter) noexcept {
    const auto i = static_cast<std::size_t>(parameter);
    return i < parameter_count ? parameter_names[i] : std::string_view{};
}

// The parameter of that name, or `none`: unknown names are ignored, as the contract says.
constexpr Parameter parameter_of(std::string_view name) noexcept {
    for (std::size_t i = 1; i < parameter_count; ++i) {
        if (parameter_names[i] == name) {
            return static_cast<Parameter>(i);
        }
    }
    return Parameter::none;
}

}  // namespace sonogate
