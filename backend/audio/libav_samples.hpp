// The samples of a libav frame as interleaved floats.
//
// For: libav_decoder.cpp. Not for: mixing or resampling.
#pragma once

extern "C" {
#include <libavutil/frame.h>
}

#include <cstddef>

namespace sonogate::audio {

// Frames `from` to `from + frames` of `frame` into `out` (frames × channels, full scale ±1). False
// where its sample format is one that no listed codec gives.
bool convert(const AVFrame& frame, std::size_t from, std::size_t frames, float* out);

}  // namespace sonogate::audio
