#include "audio/libav_input.hpp"

extern "C" {
#include <libavutil/mem.h>
}

#include <cstring>
#include <string>

namespace sonogate::audio {

namespace {

constexpr int io_buffer_bytes = 32 << 10;
constexpr std::int64_t probe_bytes = 1 << 20;  // what looking for a stream's parameters may read
constexpr int max_streams = 64;

constexpr ListedCodec listed_codecs[] = {
    {AV_CODEC_ID_AAC, "aac", "aac"},
    {AV_CODEC_ID_ALAC, "alac", "alac"},
    {AV_CODEC_ID_OPUS, "opus", "opus"},
    {AV_CODEC_ID_VORBIS, "vorbis", "vorbis"},
    {AV_CODEC_ID_FLAC, "flac", "flac"},
    {AV_CODEC_ID_MP3, "mp3float", "mpeg-layer-3"},
    {AV_CODEC_ID_MP2, "mp2float", "mpeg-layer-2"},
    {AV_CODEC_ID_MP1, "mp1float", "mpeg-layer-1"},
    {AV_CODEC_ID_AMR_NB, "amrnb", "amr-nb"},
    {AV_CODEC_ID_AMR_WB, "amrwb", "amr-wb"},
    {AV_CODEC_ID_WMAV1, "wmav1", "wma-1"},
    {AV_CODEC_ID_WMAV2, "wmav2", "wma-2"},
    {AV_CODEC_ID_WMAPRO, "wmapro", "wma-pro"},
    {AV_CODEC_ID_WMALOSSLESS, "wmalossless", "wma-lossless"},
    {AV_CODEC_ID_ADPCM_IMA_QT, "adpcm_ima_qt", "ima-adpcm"},
    {AV_CODEC_ID_PCM_S8, "pcm_s8", "pcm-s8"},
    {AV_CODEC_ID_PCM_U8, "pcm_u8", "pcm-u8"},
    {AV_CODEC_ID_PCM_S16LE, "pcm_s16le", "pcm-s16"},
    {AV_CODEC_ID_PCM_S16BE, "pcm_s16be", "pcm-s16"},
    {AV_CODEC_ID_PCM_S24LE, "pcm_s24le", "pcm-s24"},
    {AV_CODEC_ID_PCM_S24BE, "pcm_s24be", "pcm-s24"},
    {AV_CODEC_ID_PCM_S32LE, "pcm_s32le", "pcm-s32"},
    {AV_CODEC_ID_PCM_S32BE, "pcm_s32be", "pcm-s32"},
    {AV_CODEC_ID_PCM_F32LE, "pcm_f32le", "pcm-f32"},
    {AV_CODEC_ID_PCM_F32BE, "pcm_f32be", "pcm-f32"},
    {AV_CODEC_ID_PCM_F64LE, "pcm_f64le", "pcm-f64"},
    {AV_CODEC_ID_PCM_F64BE, "pcm_f64be", "pcm-f64"},
    {AV_CODEC_ID_PCM_ALAW, "pcm_alaw", "alaw"},
    {AV_CODEC_ID_PCM_MULAW, "pcm_mulaw", "ulaw"},
};

const char* demuxer_name(AudioFormat format) noexcept {
    switch (format) {
        case AudioFormat::ogg_vorbis:
        case AudioFormat::ogg_opus:
        case AudioFormat::ogg_flac:
            return "ogg";
        case AudioFormat::mp3:
            return "mp3";  // layers 1 and 2 too
        case AudioFormat::wav:
            return "wav";
        case AudioFormat::caf:
            return "caf";
        case AudioFormat::aac:
            return "aac";
        case AudioFormat::mp4:
        case AudioFormat::three_gp:
            return "mov";
        case AudioFormat::webm:
        case AudioFormat::matroska:
            return "matroska";
        case AudioFormat::amr:
            return "amr";
        case AudioFormat::wma:
            return "asf";
        default:
            return nullptr;
    }
}

const std::string& allowed_codecs() {
    static const std::string list = [] {
        std::string out;
        for (const ListedCodec& codec : listed_codecs) {
            out.append(out.empty() ? "" : ",").append(codec.decoder);
        }
        return out;
    }();
    return list;
}

int open_nothing(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) noexcept {
    return AVERROR(EPERM);
}

}  // namespace

const ListedCodec* listed_codec(AVCodecID id) noexcept {
    const auto* const found =
        std::find_if(std::begin(listed_codecs), std::end(listed_codecs),
                     [id](const ListedCodec& codec) { return codec.id == id; });
    return found == std::end(listed_codecs) ? nullptr : found;
}

int LibavInput::MemoryInput::read(void* self, std::uint8_t* out, int count) noexcept {
    auto& input = *static_cast<MemoryInput*>(self);
    const auto size = static_cast<std::int64_t>(input.bytes.size());
    const std::int64_t taken = std::min<std::int64_t>(count, size - std::min(size, input.at));
    if (taken <= 0) {
        return AVERROR_EOF;
    }
    std::memcpy(out, input.bytes.data() + input.at, static_cast<std::size_t>(taken));
    input.at += taken;
    return static_cast<int>(taken);
}

std::int64_t LibavInput::MemoryInput::seek(void* self, std::int64_t offset, int whence) noexcept {
    auto& input = *static_cast<MemoryInput*>(self);
    const auto size = static_cast<std::int64_t>(input.bytes.size());
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE) {
        return size;
    }
    const std::int64_t base = whence == SEEK_CUR ? input.at : whence == SEEK_END ? size : 0;
    std::int64_t target = 0;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) {
        return AVERROR(EINVAL);
    }
    return input.at = target;
}

bool LibavInput::open(AudioFormat wanted) {
    const AVInputFormat* const demuxer = av_find_input_format(demuxer_name(wanted));
    if (demuxer == nullptr) {
        return false;
    }
    auto* const buffer = static_cast<std::uint8_t*>(needed(av_malloc(io_buffer_bytes)));
    io_.reset(avio_alloc_context(buffer, io_buffer_bytes, 0, &file_, MemoryInput::read, nullptr,
                                 MemoryInput::seek));
    if (!io_) {
        av_free(buffer);
        throw std::bad_alloc();
    }
    AVFormatContext* format = needed(avformat_alloc_context());
    format->pb = io_.get();
    format->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    format->io_open = open_nothing;
    format->max_streams = max_streams;
    format->probesize = probe_bytes;
    format->format_whitelist = needed(av_strdup(demuxer->name));
    format->protocol_whitelist = needed(av_strdup(""));
    format->codec_whitelist = needed(av_strdup(allowed_codecs().c_str()));
    const int opened = avformat_open_input(&format, "", demuxer, nullptr);  // frees it if not
    if (checked(opened) < 0) {
        return false;
    }
    format_.reset(format);
    return true;
}

}  // namespace sonogate::audio
