// A decoder: bytes of an audio file in, interleaved float samples out, block by block.
//
// For: worker/intake.hpp and tests. Not for: mixing, resampling, limits (intake has those).
// One table in decoder.cpp says which decoder reads which format.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "audio/format.hpp"
#include "base/bytes.hpp"
#include "base/result.hpp"

namespace sonogate::audio {

struct StreamInfo {
    AudioFormat format = AudioFormat::unknown;
    std::string_view format_name;      // "wav"; static storage
    std::string_view codec;            // "pcm-s16", "mpeg-layer-3", …; static storage
    std::uint32_t sample_rate_hz = 0;  // at least 1
    std::uint32_t channels = 0;        // 1 to 1024
    std::optional<std::uint64_t>
        frames;  // what the header says, cut to what the bytes can hold; it may lie
};

class Decoder {
  public:
    virtual ~Decoder() = default;

    virtual const StreamInfo& info() const noexcept = 0;

    // Decodes up to interleaved.size() / channels frames, full scale ±1, and returns how many; 0 is
    // the end. Samples may be NaN or infinite where the file says so. Errors: undecodable where
    // nothing decoded before; damage later is the end, and truncated().
    virtual Result<std::size_t> read(std::span<float> interleaved) = 0;

    // After the end: there was damage, or less audio than the header promised.
    virtual bool truncated() const noexcept = 0;
};

// Opens what sniff() finds. `file` is borrowed for the decoder's life and may change under it (a
// hostile peer's shared memory): a decoder copies what it parses. Errors: missing_audio (no bytes),
// unsupported_format, undecodable, too_short (a sound file of zero frames, where the header shows
// it). Throws std::bad_alloc, as read() may, where memory is short or a header asks for too much.
Result<std::unique_ptr<Decoder>> open_decoder(Bytes file);

// … where sniff() was asked before.
Result<std::unique_ptr<Decoder>> open_decoder(Bytes file, const Sniffed& sniffed);

}  // namespace sonogate::audio
