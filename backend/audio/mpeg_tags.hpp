// What stands in an MPEG audio file beside its frames: tags in front, behind and between, and the
// one that an encoder hides in the first frame.
//
// For: finding where the audio begins and ends, and how much there should be. Not for: titles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "audio/mpeg_frame.hpp"
#include "base/bytes.hpp"

namespace sonogate::audio {

// Where the bytes behind all ID3v2 tags at the front begin (ID3v2.4 section 3.1); may lie behind
// the end.
std::size_t after_id3_tags(Bytes file) noexcept;

// Where the tags at the end begin: ID3v1, APE v2 and Lyrics3 v2, in any order; the end of the file
// without any.
std::size_t before_end_tags(Bytes file) noexcept;

// What stands between two frames without harm: a tag, as where files were put behind each other, or
// zeros.
bool is_tag_or_padding(Bytes between) noexcept;

// Xing or Info (the same thing for a constant bitrate), or Fraunhofer's VBRI. It may lie.
struct VbrTag {
    std::uint32_t frames = 0;          // this one not counted; 0 = not told
    std::uint64_t hidden_samples = 0;  // of each channel: encoder's and decoder's delay, padding
};

// Of the file whose first frame is `frame`, at `at`.
VbrTag vbr_tag(Bytes file, std::size_t at, const MpegFrame& frame) noexcept;

// How many samples of each channel there are to hear, by the tag in the frame that begins the file;
// nullopt without one.
std::optional<std::uint64_t> promised_samples(Bytes file) noexcept;

}  // namespace sonogate::audio
