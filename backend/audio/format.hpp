// Which audio format some bytes are: by what stands in them, never by a name or a content type.
//
// For: choosing a decoder, and the `format` of an answer. Not for: deciding whether the file is
// sound.
#pragma once

#include <string_view>

#include "base/bytes.hpp"
#include "shm/audio_format.hpp"

namespace sonogate::audio {

using shm::AudioFormat;
using shm::name_of;

// What the bytes are, and where the format begins (after ID3v2 tags, which may stand before MP3 and
// FLAC).
struct Sniffed {
    AudioFormat format = AudioFormat::unknown;
    std::size_t begin_bytes = 0;
};

// Reads each byte at most once into private memory, so a peer that changes the bytes meanwhile can
// only make the answer wrong. MP3 is believed after two frame headers that agree, or one frame that
// ends the file.
Sniffed sniff(Bytes file) noexcept;

}  // namespace sonogate::audio
