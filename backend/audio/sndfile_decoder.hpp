// libsndfile as a decoder, reading from memory.
//
// For: decoder.cpp's table. Not for: anybody else.
#pragma once

#include "audio/decoder.hpp"

namespace sonogate::audio {

// `file` begins where the format begins. Errors: undecodable where libsndfile refuses it or finds
// another format.
Result<std::unique_ptr<Decoder>> open_sndfile(AudioFormat format, Bytes file);

}  // namespace sonogate::audio
