// The audio formats, numbered and named once: numbers cross shared memory, names are for people.
//
// For: answers, logs, settings. Not for: telling what some bytes are (audio/format.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sonogate::shm {

// Part of the layout: a new one goes before `other`, and layout_version goes up.
enum class AudioFormat : std::uint16_t {
    unknown = 0,
    wav,
    aiff,
    caf,
    au,
    flac,
    ogg_vorbis,
    ogg_opus,
    ogg_flac,
    mp3,
    w64,
    rf64,
    aac,  // in ADTS
    mp4,  // M4A, MP4, MOV
    three_gp,
    webm,
    matroska,
    amr,
    wma,  // in ASF
    other,
    count_,
};

// "wav", "ogg-vorbis", …; "unknown" for what is none.
constexpr std::string_view name_of(AudioFormat format) noexcept {
    constexpr std::array<std::string_view, static_cast<std::size_t>(AudioFormat::count_)> names = {
        "unknown",  "wav",      "aiff",     "caf", "au",   "flac", "ogg-vorbis",
        "ogg-opus", "ogg-flac", "mp3",      "w64", "rf64", "aac",  "mp4",
        "3gp",      "webm",     "matroska", "amr", "wma",  "other"};
    const auto i = static_cast<std::size_t>(format);
    return i < names.size() ? names[i] : names[0];
}

}  // namespace sonogate::shm
