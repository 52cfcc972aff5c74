// Whether a file holds the audio that its own headers promise.
//
// For: telling a cut file from a whole one, since decoders take what is there and say nothing. Not
// for: decoding.
#pragma once

#include "audio/format.hpp"
#include "base/bytes.hpp"

namespace sonogate::audio {

// True where the container says more audio bytes than there are (a WAV of unknown length that says
// 0xFFFFFFFF included: nothing in it tells whether all of it came), an Ogg stream has no last page,
// or an MPEG frame is cut. FLAC counts frames, not bytes, and is always false here.
bool promises_more(AudioFormat format, Bytes file);

}  // namespace sonogate::audio
