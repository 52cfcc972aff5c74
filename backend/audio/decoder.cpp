#include "audio/decoder.hpp"

#include "audio/libav_decoder.hpp"
#include "audio/sndfile_decoder.hpp"

namespace sonogate::audio {

namespace {

using Open = Result<std::unique_ptr<Decoder>> (*)(AudioFormat format, Bytes file);

struct Row {
    AudioFormat format = AudioFormat::unknown;
    Open open = nullptr;
    Open otherwise = nullptr;  // asked where the first finds it undecodable
};

// Which decoder reads which format. A format has one row. libsndfile reads the PCM of WAV and CAF,
// libavformat what else they may hold: MP3, AAC, ALAC and Opus.
constexpr Row decoders[] = {
    {AudioFormat::wav, open_sndfile, open_libav},
    {AudioFormat::caf, open_sndfile, open_libav},
    {AudioFormat::aiff, open_sndfile},
    {AudioFormat::au, open_sndfile},
    {AudioFormat::flac, open_sndfile},
    {AudioFormat::w64, open_sndfile},
    {AudioFormat::rf64, open_sndfile},
    {AudioFormat::mp3, open_libav},
    {AudioFormat::ogg_vorbis, open_libav},
    {AudioFormat::ogg_opus, open_libav},
    {AudioFormat::ogg_flac, open_libav},
    {AudioFormat::aac, open_libav},
    {AudioFormat::mp4, open_libav},
    {AudioFormat::three_gp, open_libav},
    {AudioFormat::webm, open_libav},
    {AudioFormat::matroska, open_libav},
    {AudioFormat::amr, open_libav},
    {AudioFormat::wma, open_libav},
};

}  // namespace

Result<std::unique_ptr<Decoder>> open_decoder(Bytes file) {
    return open_decoder(file, sniff(file));
}

Result<std::unique_ptr<Decoder>> open_decoder(Bytes file, const Sniffed& sniffed) {
    if (file.empty()) {
        return Errc::missing_audio;
    }
    for (const Row& row : decoders) {
        if (row.format == sniffed.format) {
            const Bytes audio = file.subspan(sniffed.begin_bytes);
            auto decoder = row.open(sniffed.format, audio);
            const bool refused = !decoder && decoder.failure().code == Errc::undecodable;
            return refused && row.otherwise != nullptr ? row.otherwise(sniffed.format, audio)
                                                       : std::move(decoder);
        }
    }
    return Errc::unsupported_format;
}

}  // namespace sonogate::audio
