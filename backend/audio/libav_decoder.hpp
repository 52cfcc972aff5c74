// libavformat and libavcodec as a decoder, reading from memory.
//
// For: decoder.cpp's table. Not for: anybody else. libav_input.hpp says what may be opened at all.
#pragma once

#include "audio/decoder.hpp"

namespace sonogate::audio {

// `file` begins where the format begins. The first audio stream of the file is decoded; delay and
// padding that the encoder told of are left out, as ffmpeg does. Errors: undecodable where there is
// no audio of a codec in the list, or none of its first frames decodes.
Result<std::unique_ptr<Decoder>> open_libav(AudioFormat format, Bytes file);

}  // namespace sonogate::audio
