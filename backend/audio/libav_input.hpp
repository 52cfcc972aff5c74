// A sound file in memory as libavformat reads it, with all that it must not reach shut.
//
// For: libav_decoder.cpp. Not for: decoding. Demuxers and codecs are lists: no other is ever
// opened, no protocol, and no file beside the given one.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/error.h>
}

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>

#include "audio/format.hpp"
#include "base/bytes.hpp"

namespace sonogate::audio {

struct ListedCodec {
    AVCodecID id;
    const char* decoder;  // libavcodec's name: never "the default of that id"
    std::string_view name;
};

// Null for a codec that is not listed.
const ListedCodec* listed_codec(AVCodecID id) noexcept;

// Where memory is short the job is at its limit, which is not the file's fault.
template <typename T>
T* needed(T* pointer) {
    if (pointer == nullptr) {
        throw std::bad_alloc();
    }
    return pointer;
}

inline int checked(int code) {
    if (code == AVERROR(ENOMEM)) {
        throw std::bad_alloc();
    }
    return code;
}

class LibavInput {
  public:
    explicit LibavInput(Bytes file) noexcept : file_{file} {}
    LibavInput(const LibavInput&) = delete;
    LibavInput& operator=(const LibavInput&) = delete;

    // Reads the header; no decoder was opened yet. False where libavformat refuses it.
    bool open(AudioFormat format);

    AVFormatContext& format() const noexcept { return *format_; }
    Bytes bytes() const noexcept { return file_.bytes; }

  private:
    // Every byte that libavformat parses is a copy.
    struct MemoryInput {
        Bytes bytes;
        std::int64_t at = 0;

        static int read(void* self, std::uint8_t* out, int count) noexcept;
        static std::int64_t seek(void* self, std::int64_t offset, int whence) noexcept;
    };
    struct FreeIo {
        void operator()(AVIOContext* io) const noexcept {
            av_freep(&io->buffer);
            avio_context_free(&io);
        }
    };
    struct CloseFormat {
        void operator()(AVFormatContext* format) const noexcept { avformat_close_input(&format); }
    };

    MemoryInput file_;  // before io_, and io_ before format_: each reads from the one before
    std::unique_ptr<AVIOContext, FreeIo> io_;
    std::unique_ptr<AVFormatContext, CloseFormat> format_;
};

}  // namespace sonogate::audio
