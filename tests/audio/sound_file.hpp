// Sound files made in memory, for tests: libsndfile writing what libsndfile-based code reads.
#pragma once

#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <span>
#include <vector>

#include "base/bytes.hpp"

namespace sonogate::test {

struct WrittenFile {
    std::vector<std::byte> bytes;
    sf_count_t at = 0;

    static sf_count_t length(void* self) {
        return static_cast<sf_count_t>(static_cast<WrittenFile*>(self)->bytes.size());
    }
    static sf_count_t seek(sf_count_t offset, int whence, void* self) {
        auto& file = *static_cast<WrittenFile*>(self);
        const sf_count_t base = whence == SEEK_SET   ? 0
                                : whence == SEEK_CUR ? file.at
                                                     : length(self);
        return file.at = base + offset;
    }
    static sf_count_t read(void* out, sf_count_t count, void* self) {
        auto& file = *static_cast<WrittenFile*>(self);
        const sf_count_t taken = std::clamp<sf_count_t>(length(self) - file.at, 0, count);
        std::memcpy(out, file.bytes.data() + file.at, static_cast<std::size_t>(taken));
        file.at += taken;
        return taken;
    }
    static sf_count_t write(const void* in, sf_count_t count, void* self) {
        auto& file = *static_cast<WrittenFile*>(self);
        const auto end = static_cast<std::size_t>(file.at + count);
        file.bytes.resize(std::max(file.bytes.size(), end));
        std::memcpy(file.bytes.data() + file.at, in, static_cast<std::size_t>(count));
        file.at += count;
        return count;
    }
    static sf_count_t tell(void* self) { return static_cast<WrittenFile*>(self)->at; }
};

// A file of `sndfile_format` (e.g. SF_FORMAT_WAV | SF_FORMAT_PCM_16); empty where libsndfile cannot
// write it.
inline std::vector<std::byte> sound_file(int sndfile_format, int rate_hz, int channels,
                                         std::span<const float> interleaved) {
    WrittenFile file;
    SF_VIRTUAL_IO io{WrittenFile::length, WrittenFile::seek, WrittenFile::read, WrittenFile::write,
                     WrittenFile::tell};
    SF_INFO info{};
    info.samplerate = rate_hz;
    info.channels = channels;
    info.format = sndfile_format;
    SNDFILE* const out = sf_open_virtual(&io, SFM_WRITE, &info, &file);
    if (out == nullptr) {
        return {};
    }
    // Small pieces: libvorbis takes its work memory for a whole call from the stack.
    constexpr sf_count_t piece_frames = 4096;
    const auto frames = static_cast<sf_count_t>(interleaved.size()) / channels;
    for (sf_count_t i = 0; i < frames; i += piece_frames) {
        sf_writef_float(out, interleaved.data() + i * channels, std::min(piece_frames, frames - i));
    }
    sf_close(out);
    return file.bytes;
}

inline std::vector<float> tone(double frequency_hz, double rate_hz, std::size_t samples,
                               double amplitude = 1.0, double phase_rad = 0.0) {
    std::vector<float> out(samples);
    for (std::size_t i = 0; i < samples; ++i) {
        out[i] = static_cast<float>(amplitude * std::cos(2.0 * std::numbers::pi * frequency_hz /
                                                             rate_hz * static_cast<double>(i) +
                                                         phase_rad));
    }
    return out;
}

}  // namespace sonogate::test
