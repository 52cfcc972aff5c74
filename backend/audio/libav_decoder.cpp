#include "audio/libav_decoder.hpp"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
}

#include <algorithm>

#include "audio/libav_input.hpp"
#include "audio/libav_samples.hpp"
#include "audio/mpeg_tags.hpp"
#include "audio/promise.hpp"

namespace sonogate::audio {

namespace {

constexpr int most_channels = 64;       // the most that a listed codec has
constexpr int patience_packets = 1000;  // without a frame from them, before the first one

struct FreeCodec {
    void operator()(AVCodecContext* codec) const noexcept { avcodec_free_context(&codec); }
};
struct FreePacket {
    void operator()(AVPacket* packet) const noexcept { av_packet_free(&packet); }
};
struct FreeFrame {
    void operator()(AVFrame* frame) const noexcept { av_frame_free(&frame); }
};

class LibavDecoder final : public Decoder {
  public:
    LibavDecoder(AudioFormat format, Bytes file) noexcept : input_(file) { info_.format = format; }

    Result<void> open() {
        if (!input_.open(info_.format) || !choose_stream() || !open_codec()) {
            return Errc::undecodable;
        }
        // The header may be wrong about rate and channels (HE-AAC doubles them): a frame is not.
        if (!next_frame()) {
            const auto promised = promised_frames(stream_->codecpar->sample_rate);
            return truncated_ || promised ? Errc::undecodable : Errc::too_short;
        }
        info_.format_name = name_of(info_.format);
        info_.sample_rate_hz = static_cast<std::uint32_t>(frame_->sample_rate);
        info_.channels = static_cast<std::uint32_t>(frame_->ch_layout.nb_channels);
        info_.frames = promised_frames(frame_->sample_rate);
        return {};
    }

    const StreamInfo& info() const noexcept override { return info_; }

    Result<std::size_t> read(std::span<float> interleaved) override {
        const std::size_t wanted = interleaved.size() / info_.channels;
        std::size_t got = 0;
        while (got < wanted && has_samples()) {
            float* const out = interleaved.data() + got * info_.channels;
            std::size_t taken = std::min(gap_frames_, wanted - got);
            if (gap_frames_ > 0) {
                std::fill_n(out, taken * info_.channels, 0.0F);
                gap_frames_ -= taken;
            } else {
                taken = std::min(frame_frames() - frame_used_, wanted - got);
                if (!convert(*frame_, frame_used_, taken, out)) {
                    end(true);
                    break;
                }
                frame_used_ += taken;
            }
            got += taken;
            frames_read_ += taken;
        }
        return got;
    }

    bool truncated() const noexcept override { return truncated_; }

  private:
    // The first audio stream of a listed codec. The others are thrown away as they are met.
    bool choose_stream() {
        const bool raw = info_.format == AudioFormat::aac || info_.format == AudioFormat::mp3;
        if (raw && checked(avformat_find_stream_info(&input_.format(), nullptr)) < 0) {
            return false;  // its header is a frame's
        }
        for (unsigned i = 0; i < input_.format().nb_streams; ++i) {
            AVStream* const stream = input_.format().streams[i];
            const AVCodecParameters& parameters = *stream->codecpar;
            const ListedCodec* const codec = parameters.codec_type == AVMEDIA_TYPE_AUDIO
                                                 ? listed_codec(parameters.codec_id)
                                                 : nullptr;
            if (stream_ == nullptr && codec != nullptr) {
                stream_ = stream;
                info_.codec = codec->name;
            } else {
                stream->discard = AVDISCARD_ALL;
            }
        }
        return stream_ != nullptr;
    }

    bool open_codec() {
        const AVCodec* const decoder =
            avcodec_find_decoder_by_name(listed_codec(stream_->codecpar->codec_id)->decoder);
        if (decoder == nullptr) {
            return false;
        }
        if (const auto first = first_frame()) {  // libavformat tells the rate of a later one
            stream_->codecpar->sample_rate = static_cast<int>(first->rate_hz);
        }
        codec_.reset(needed(avcodec_alloc_context3(decoder)));
        if (checked(avcodec_parameters_to_context(codec_.get(), stream_->codecpar)) < 0) {
            return false;
        }
        codec_->pkt_timebase = stream_->time_base;
        codec_->thread_count = 1;
        codec_->err_recognition = AV_EF_CRCCHECK;
        if (info_.format == AudioFormat::ogg_vorbis) {
            codec_->flags2 |= AV_CODEC_FLAG2_SKIP_MANUAL;
        }
        packet_.reset(needed(av_packet_alloc()));
        frame_.reset(needed(av_frame_alloc()));
        return checked(avcodec_open2(codec_.get(), decoder, nullptr)) >= 0;
    }

    // What the container's header says. ADTS and AMR have none, and libavformat estimates; MP3 may
    // have one, else it does there too, by the bitrate of the first frames.
    std::optional<std::uint64_t> promised_frames(int rate_hz) const noexcept {
        if (info_.format == AudioFormat::mp3) {
            return promised_samples(input_.bytes());
        }
        std::int64_t duration = stream_->duration;
        AVRational base = stream_->time_base;
        if (duration == AV_NOPTS_VALUE) {
            duration = input_.format().duration;
            base = AV_TIME_BASE_Q;
        }
        const bool estimated = info_.format == AudioFormat::aac || info_.format == AudioFormat::amr;
        if (estimated || duration == AV_NOPTS_VALUE || duration <= 0 || base.den <= 0 ||
            rate_hz < 1) {
            return std::nullopt;
        }
        const std::int64_t frames = av_rescale_q(duration, base, AVRational{1, rate_hz});
        return frames > 0 ? std::optional<std::uint64_t>(static_cast<std::uint64_t>(frames))
                          : std::nullopt;
    }

    std::size_t frame_frames() const noexcept {
        return static_cast<std::size_t>(frame_->nb_samples);
    }

    bool has_samples() { return gap_frames_ > 0 || frame_used_ < frame_frames() || next_frame(); }

    void end(bool damaged) noexcept {
        ended_ = true;
        truncated_ = truncated_ || damaged;
        av_frame_unref(frame_.get());
        frame_used_ = 0;
        gap_frames_ = 0;
    }

    // The next frame with samples in it, or the gap before it; false at the end.
    bool next_frame() {
        int packets = 0;
        while (!ended_) {
            frame_used_ = 0;
            const int got = checked(avcodec_receive_frame(codec_.get(), frame_.get()));
            if (got == 0) {
                if (take_frame()) {
                    return true;
                }
                continue;
            }
            if (got == AVERROR_EOF || drained_) {
                end(is_short());
                break;
            }
            if (got != AVERROR(EAGAIN)) {
                lose_packet();
            }
            feed();
            if (gap_frames_ > 0) {
                return true;
            }
            if (info_.channels == 0 && ++packets > patience_packets) {
                end(true);
            }
        }
        return false;
    }

    // Whether anything of frame_ is to be heard.
    bool take_frame() noexcept {
        if (!fits(*frame_)) {
            end(true);
            return false;
        }
        if (info_.format == AudioFormat::ogg_vorbis) {
            trim_vorbis();
        }
        return frame_used_ < frame_frames();
    }

    // A packet that does not decode leaves as much silence, so that what follows stays in place.
    // The pauses of AMR (3GPP TS 26.093) are such packets to libavcodec 5.1, and no damage.
    void lose_packet() noexcept {
        const auto rate_hz = static_cast<int>(info_.sample_rate_hz);
        if (info_.channels > 0 && packet_->duration > 0 && stream_->time_base.den > 0) {
            gap_frames_ += static_cast<std::size_t>(std::clamp<std::int64_t>(
                av_rescale_q(packet_->duration, stream_->time_base, AVRational{1, rate_hz}), 0,
                rate_hz));
        }
        const bool amr = stream_->codecpar->codec_id == AV_CODEC_ID_AMR_NB ||
                         stream_->codecpar->codec_id == AV_CODEC_ID_AMR_WB;
        truncated_ = truncated_ || !amr;
    }

    // A stream that changes its rate or channels half way ends there.
    bool fits(const AVFrame& frame) const noexcept {
        if (frame.sample_rate < 1 || frame.ch_layout.nb_channels < 1 ||
            frame.ch_layout.nb_channels > most_channels) {
            return false;
        }
        return info_.channels == 0 ||
               (static_cast<std::uint32_t>(frame.sample_rate) == info_.sample_rate_hz &&
                static_cast<std::uint32_t>(frame.ch_layout.nb_channels) == info_.channels);
    }

    // Vorbis I section A.2: what lies before time 0 is not heard, and the last page's granule
    // position is the end. libavformat 5.1 is a short block off there (it counts the first packet,
    // which gives no samples), so it only says which frame is the last.
    void trim_vorbis() noexcept {
        AVFrame& frame = *frame_;
        const auto frames = static_cast<std::int64_t>(frame.nb_samples);
        if (frames_read_ == 0 && frame.pts < 0 && frame.pts != AV_NOPTS_VALUE) {
            frame_used_ = static_cast<std::size_t>(std::min(frames, -frame.pts));
        }
        const auto end = static_cast<std::int64_t>(info_.frames.value_or(0));
        const auto begin = static_cast<std::int64_t>(frames_read_);
        const bool last = av_frame_get_side_data(&frame, AV_FRAME_DATA_SKIP_SAMPLES) != nullptr;
        if (last && begin < end && end < begin + frames) {
            frame.nb_samples = static_cast<int>(end - begin);
        }
    }

    // A packet of our stream into the codec; nothing more to read drains it.
    void feed() {
        av_packet_unref(packet_.get());
        const int read = checked(av_read_frame(&input_.format(), packet_.get()));
        if (read < 0) {
            truncated_ = truncated_ || read != AVERROR_EOF;
            drained_ = true;
            (void)checked(avcodec_send_packet(codec_.get(), nullptr));
            return;
        }
        if (packet_->stream_index != stream_->index || is_chained_header() || !begin_at_frame()) {
            return;
        }
        truncated_ = truncated_ || (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0;
        if (checked(avcodec_send_packet(codec_.get(), packet_.get())) < 0) {
            lose_packet();
        }
    }

    // What the frames of an MP3 are like.
    std::optional<MpegFrame> first_frame() const noexcept {
        return info_.format == AudioFormat::mp3 ? mpeg_frame_at(input_.bytes(), 0) : std::nullopt;
    }

    // What stands between two MPEG frames comes in front of the second one, and what stands behind
    // the last one comes alone; libavcodec 5.1 would refuse both. False where no frame of the
    // stream is in it.
    bool begin_at_frame() noexcept {
        const auto like = first_frame();
        if (!like) {
            return true;
        }
        const auto size = static_cast<std::size_t>(packet_->size);
        const Bytes packet(reinterpret_cast<const std::byte*>(packet_->data), size);
        const auto front = mpeg_frame_at(packet, 0);
        const bool at_front = front && front->same_stream(*like);
        const auto begin = at_front ? std::size_t{0} : frame_ending(packet, *like);
        const bool lost = begin ? !is_tag_or_padding(packet.first(*begin)) : front.has_value();
        truncated_ = truncated_ || lost;
        packet_->data += begin.value_or(0);
        packet_->size -= static_cast<int>(begin.value_or(0));
        return begin.has_value();
    }

    // Of a stream that is chained to the one before: libavformat 5.1 hands Opus' headers (RFC 7845
    // section 3) and FLAC's (RFC 9639 section 10.1: all that does not begin as a frame does) on as
    // if they were audio.
    bool is_chained_header() const noexcept {
        const std::string_view packet(reinterpret_cast<const char*>(packet_->data),
                                      static_cast<std::size_t>(packet_->size));
        if (info_.format == AudioFormat::ogg_opus) {
            return packet.starts_with("OpusHead") || packet.starts_with("OpusTags");
        }
        return info_.format == AudioFormat::ogg_flac && !packet.starts_with('\xff');
    }

    // Fewer frames than promised. Containers round to their clock and count the encoder's padding.
    bool is_short() const {
        constexpr std::uint64_t slack_frames = 4096;
        return frames_read_ + slack_frames < info_.frames.value_or(0) ||
               promises_more(info_.format, input_.bytes());
    }

    LibavInput input_;
    std::unique_ptr<AVCodecContext, FreeCodec> codec_;
    std::unique_ptr<AVPacket, FreePacket> packet_;
    std::unique_ptr<AVFrame, FreeFrame> frame_;
    AVStream* stream_ = nullptr;  // input_'s
    StreamInfo info_;
    std::size_t frame_used_ = 0;  // samples of frame_ handed out
    std::size_t gap_frames_ = 0;  // of silence, before frame_
    std::uint64_t frames_read_ = 0;
    bool drained_ = false;
    bool ended_ = false;
    bool truncated_ = false;
};

}  // namespace

Result<std::unique_ptr<Decoder>> open_libav(AudioFormat format, Bytes file) {
    av_log_set_level(AV_LOG_QUIET);
    const bool tagged = format == AudioFormat::mp3;
    auto decoder =
        std::make_unique<LibavDecoder>(format, tagged ? file.first(before_end_tags(file)) : file);
    if (const auto opened = decoder->open(); !opened) {
        return opened.failure();
    }
    return std::unique_ptr<Decoder>(std::move(decoder));
}

}  // namespace sonogate::audio
