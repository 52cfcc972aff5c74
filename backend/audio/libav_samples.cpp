#include "audio/libav_samples.hpp"

extern "C" {
#include <libavutil/samplefmt.h>
}

#include <cstdint>

namespace sonogate::audio {

namespace {

// One sample as a float of full scale ±1.
float sample_of(std::uint8_t value) noexcept {
    return (static_cast<float>(value) - 128.0F) / 128.0F;
}
float sample_of(std::int16_t value) noexcept {
    return static_cast<float>(value) / 32768.0F;
}
float sample_of(std::int32_t value) noexcept {
    return static_cast<float>(static_cast<double>(value) / 2147483648.0);
}
float sample_of(float value) noexcept {
    return value;
}
float sample_of(double value) noexcept {
    return static_cast<float>(value);
}

template <typename Sample>
void convert_as(const AVFrame& frame, bool planar, std::size_t from, std::size_t frames,
                float* out) {
    const auto channels = static_cast<std::size_t>(frame.ch_layout.nb_channels);
    for (std::size_t c = 0; c < channels; ++c) {
        const auto* in = reinterpret_cast<const Sample*>(frame.extended_data[planar ? c : 0]);
        const std::size_t step = planar ? 1 : channels;
        in += planar ? from : from * channels + c;
        for (std::size_t i = 0; i < frames; ++i) {
            out[i * channels + c] = sample_of(in[i * step]);
        }
    }
}

}  // namespace

bool convert(const AVFrame& frame, std::size_t from, std::size_t frames, float* out) {
    const auto given = static_cast<AVSampleFormat>(frame.format);
    const bool planar = av_sample_fmt_is_planar(given) != 0;
    switch (av_get_packed_sample_fmt(given)) {
        case AV_SAMPLE_FMT_U8:
            convert_as<std::uint8_t>(frame, planar, from, frames, out);
            return true;
        case AV_SAMPLE_FMT_S16:
            convert_as<std::int16_t>(frame, planar, from, frames, out);
            return true;
        case AV_SAMPLE_FMT_S32:
            convert_as<std::int32_t>(frame, planar, from, frames, out);
            return true;
        case AV_SAMPLE_FMT_FLT:
            convert_as<float>(frame, planar, from, frames, out);
            return true;
        case AV_SAMPLE_FMT_DBL:
            convert_as<double>(frame, planar, from, frames, out);
            return true;
        default:
            return false;
    }
}

}  // namespace sonogate::audio
