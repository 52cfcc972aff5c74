#include "audio/sndfile_decoder.hpp"

#include <sndfile.h>

#include <algorithm>
#include <array>

#include "audio/promise.hpp"

namespace sonogate::audio {

namespace {

constexpr int max_channels = 1024;                          // libsndfile's own bound
constexpr sf_count_t unknown_frames = sf_count_t{1} << 60;  // at or above: libsndfile does not know

struct Codec {
    int subtype;
    std::string_view name;
};

constexpr Codec codecs[] = {
    {SF_FORMAT_PCM_S8, "pcm-s8"},
    {SF_FORMAT_PCM_U8, "pcm-u8"},
    {SF_FORMAT_PCM_16, "pcm-s16"},
    {SF_FORMAT_PCM_24, "pcm-s24"},
    {SF_FORMAT_PCM_32, "pcm-s32"},
    {SF_FORMAT_FLOAT, "pcm-f32"},
    {SF_FORMAT_DOUBLE, "pcm-f64"},
    {SF_FORMAT_ULAW, "ulaw"},
    {SF_FORMAT_ALAW, "alaw"},
    {SF_FORMAT_IMA_ADPCM, "ima-adpcm"},
    {SF_FORMAT_MS_ADPCM, "ms-adpcm"},
    {SF_FORMAT_GSM610, "gsm-610"},
    {SF_FORMAT_NMS_ADPCM_16, "nms-adpcm"},
    {SF_FORMAT_NMS_ADPCM_24, "nms-adpcm"},
    {SF_FORMAT_NMS_ADPCM_32, "nms-adpcm"},
    {SF_FORMAT_G721_32, "g721"},
    {SF_FORMAT_G723_24, "g723"},
    {SF_FORMAT_G723_40, "g723"},
    {SF_FORMAT_ALAC_16, "alac"},
    {SF_FORMAT_ALAC_20, "alac"},
    {SF_FORMAT_ALAC_24, "alac"},
    {SF_FORMAT_ALAC_32, "alac"},
};

std::string_view codec_name(AudioFormat format, int sndfile_format) noexcept {
    if (format == AudioFormat::flac) {
        return "flac";
    }
    for (const Codec& codec : codecs) {
        if (codec.subtype == (sndfile_format & SF_FORMAT_SUBMASK)) {
            return codec.name;
        }
    }
    return "other";
}

// libsndfile guesses by itself what the bytes are: it must have come to the same end. Of MP3 within
// WAV it reads as much as the bitrate of the first frames would make, and leaves the rest.
bool agrees(AudioFormat format, int sndfile_format) noexcept {
    const int codec = sndfile_format & SF_FORMAT_SUBMASK;
    if (codec >= SF_FORMAT_MPEG_LAYER_I && codec <= SF_FORMAT_MPEG_LAYER_III) {
        return false;
    }
    switch (sndfile_format & SF_FORMAT_TYPEMASK) {
        case SF_FORMAT_WAV:
        case SF_FORMAT_WAVEX:
            return format == AudioFormat::wav || format == AudioFormat::rf64;
        case SF_FORMAT_RF64:
            return format == AudioFormat::rf64;
        case SF_FORMAT_W64:
            return format == AudioFormat::w64;
        case SF_FORMAT_AIFF:
            return format == AudioFormat::aiff;
        case SF_FORMAT_CAF:
            return format == AudioFormat::caf;
        case SF_FORMAT_AU:
            return format == AudioFormat::au;
        case SF_FORMAT_FLAC:
            return format == AudioFormat::flac;
        default:
            return false;
    }
}

// The file as libsndfile's virtual input: every byte that it parses is a copy.
struct MemoryFile {
    Bytes bytes;
    std::optional<SizeCorrection> correction;
    sf_count_t at = 0;

    sf_count_t size() const noexcept { return static_cast<sf_count_t>(bytes.size()); }

    static sf_count_t length(void* self) noexcept { return static_cast<MemoryFile*>(self)->size(); }

    static sf_count_t seek(sf_count_t offset, int whence, void* self) noexcept {
        auto& file = *static_cast<MemoryFile*>(self);
        sf_count_t base = 0;
        if (whence == SEEK_CUR) {
            base = file.at;
        } else if (whence == SEEK_END) {
            base = file.size();
        }
        sf_count_t target = 0;
        if (__builtin_add_overflow(base, offset, &target) || target < 0) {
            return -1;
        }
        file.at = target;
        return target;
    }

    static sf_count_t read(void* out, sf_count_t count, void* self) noexcept {
        auto& file = *static_cast<MemoryFile*>(self);
        const sf_count_t left = file.at < file.size() ? file.size() - file.at : 0;
        const sf_count_t taken = std::clamp<sf_count_t>(count, 0, left);
        if (taken > 0) {
            std::memcpy(out, file.bytes.data() + file.at, static_cast<std::size_t>(taken));
            file.correct(static_cast<std::byte*>(out), taken);
            file.at += taken;
        }
        return taken;
    }

    void correct(std::byte* out, sf_count_t taken) const noexcept {
        for (std::size_t i = 0; correction && i < correction->size; ++i) {
            const sf_count_t place = static_cast<sf_count_t>(correction->at + i) - at;
            if (place >= 0 && place < taken) {
                out[place] = correction->bytes[i];
            }
        }
    }

    static sf_count_t write(const void*, sf_count_t, void*) noexcept { return 0; }

    static sf_count_t tell(void* self) noexcept { return static_cast<MemoryFile*>(self)->at; }
};

struct CloseSndfile {
    void operator()(SNDFILE* file) const noexcept { sf_close(file); }
};

class SndfileDecoder final : public Decoder {
  public:
    SndfileDecoder(AudioFormat format, Bytes file) noexcept
        : memory_{file, size_correction(format, file)} {
        info_.format = format;
    }

    Result<void> open() {
        SF_VIRTUAL_IO io{MemoryFile::length, MemoryFile::seek, MemoryFile::read, MemoryFile::write,
                         MemoryFile::tell};
        SF_INFO found{};
        file_.reset(sf_open_virtual(&io, SFM_READ, &found, &memory_));
        if (!file_ || !agrees(info_.format, found.format) || found.channels < 1 ||
            found.channels > max_channels || found.samplerate < 1) {
            return Errc::undecodable;
        }
        info_.format_name = name_of(info_.format);
        info_.codec = codec_name(info_.format, found.format);
        info_.sample_rate_hz = static_cast<std::uint32_t>(found.samplerate);
        info_.channels = static_cast<std::uint32_t>(found.channels);
        if (found.frames >= 0 && found.frames < unknown_frames) {
            info_.frames = static_cast<std::uint64_t>(found.frames);
        }
        return {};
    }

    const StreamInfo& info() const noexcept override { return info_; }

    Result<std::size_t> read(std::span<float> interleaved) override {
        const auto wanted = static_cast<sf_count_t>(interleaved.size() / info_.channels);
        const sf_count_t got = ended_ ? 0 : sf_readf_float(file_.get(), interleaved.data(), wanted);
        if (got > 0) {
            frames_read_ += static_cast<std::uint64_t>(got);
            return static_cast<std::size_t>(std::min(got, wanted));
        }
        if (!ended_) {
            ended_ = true;
            truncated_ = sf_error(file_.get()) != SF_ERR_NO_ERROR ||
                         frames_read_ < info_.frames.value_or(0) ||
                         promises_more(info_.format, memory_.bytes);
        }
        if (frames_read_ == 0) {
            return info_.frames.value_or(1) == 0 && !truncated_ ? Errc::too_short
                                                                : Errc::undecodable;
        }
        return std::size_t{0};
    }

    bool truncated() const noexcept override { return truncated_; }

  private:
    MemoryFile memory_;  // before file_, which closes with it
    std::unique_ptr<SNDFILE, CloseSndfile> file_;
    StreamInfo info_;
    std::uint64_t frames_read_ = 0;
    bool ended_ = false;
    bool truncated_ = false;
};

}  // namespace

Result<std::unique_ptr<Decoder>> open_sndfile(AudioFormat format, Bytes file) {
    auto decoder = std::make_unique<SndfileDecoder>(format, file);
    if (const auto opened = decoder->open(); !opened) {
        return opened.failure();
    }
    return std::unique_ptr<Decoder>(std::move(decoder));
}

}  // namespace sonogate::audio
