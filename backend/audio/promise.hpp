// Whether a file holds the audio that its own headers promise.
//
// For: telling a cut file from a whole one, since decoders take what is there and say nothing. Not
// for: decoding.
#pragma once

#include <array>
#include <optional>

#include "audio/format.hpp"
#include "base/bytes.hpp"

namespace sonogate::audio {

// True where the container says more audio bytes than there are, an Ogg stream has no last page, or
// an MPEG frame is cut. A size that means "to the end of the file" (0xFFFFFFFF in WAV, AIFF and AU,
// and its like in CAF and W64: what programs write to a pipe) promises nothing. FLAC counts frames,
// not bytes, and is always false here.
bool promises_more(AudioFormat format, Bytes file);

// A size in a container's header as it should stand there for a decoder that would refuse the file,
// or see no audio in it, otherwise: a CAF that is cut or open-ended, and a WAV written to a pipe
// (data size 0, audio behind it).
struct SizeCorrection {
    std::size_t at = 0;
    std::size_t size = 0;
    std::array<std::byte, 8> bytes{};
};
std::optional<SizeCorrection> size_correction(AudioFormat format, Bytes file) noexcept;

}  // namespace sonogate::audio
