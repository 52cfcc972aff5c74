// MPEG audio frame headers (ISO/IEC 11172-3 section 2.4.1.3, 13818-3 section 2.4.2.3), and those
// of AAC in ADTS (13818-7 section 6.2), as far as telling them from other bytes needs it.
//
// For: sniffing MP3 and ADTS, and seeing where frames end. Not for: decoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"

namespace sonogate::audio {

struct MpegFrame {
    unsigned version = 0;  // 1, 2, or 25 for 2.5
    unsigned layer = 0;    // 1 to 3
    std::uint32_t rate_hz = 0;
    bool mono = false;
    std::size_t bytes = 0;  // of the whole frame
    bool same_stream(const MpegFrame& other) const noexcept {
        return version == other.version && layer == other.layer && rate_hz == other.rate_hz &&
               mono == other.mono;
    }
};

// The frame whose header stands at `at`; nullopt where none does (free-format streams included).
// The frame may end behind the bytes.
std::optional<MpegFrame> mpeg_frame_at(Bytes file, std::size_t at) noexcept;

// Where the first of three ADTS frames that agree begins, within `window_bytes` behind `from`;
// fewer only where they begin at `from` and end the file.
std::optional<std::size_t> first_adts_frame(Bytes file, std::size_t from,
                                            std::size_t window_bytes) noexcept;

// Where the frame of the same stream that ends with the packet begins: behind what stood between it
// and the frame before, where libavcodec's parser made the packet. nullopt where there is none.
std::optional<std::size_t> frame_ending(Bytes packet, const MpegFrame& like) noexcept;

// The first frame at or behind `from`, within `window_bytes`: one at `from` itself that another one
// follows, or that reaches the end of the file; elsewhere one that two more follow.
std::optional<std::size_t> first_mpeg_frame(Bytes file, std::size_t from,
                                            std::size_t window_bytes) noexcept;

// True where the last frame is cut, or there are fewer frames than a Xing, Info or VBRI
// tag counts.
bool mpeg_is_cut(Bytes file) noexcept;

}  // namespace sonogate::audio
