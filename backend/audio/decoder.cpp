#include "audio/decoder.hpp"

#include "audio/libav_decoder.hpp"
#include "audio/sndfile_decoder.hpp"

namespace sonogate::audio {

namespace {

using Open = Result<std::unique_ptr<Decoder>> (*)(AudioFormat format, Bytes file);

struct Row {
    AudioFormat format;
    Open open;
};

// Which decoder reads which format. A format has one row.
constexpr Row decoders[] = {
    {AudioFormat::wav, open_sndfile},    {AudioFormat::aiff, open_sndfile},
    {AudioFormat::caf, open_sndfile},    {AudioFormat::au, open_sndfile},
    {AudioFormat::flac, open_sndfile},   {AudioFormat::ogg_flac, open_sndfile},
    {AudioFormat::mp3, open_sndfile},    {AudioFormat::w64, open_sndfile},
    {AudioFormat::rf64, open_sndfile},   {AudioFormat::ogg_vorbis, open_libav},
    {AudioFormat::ogg_opus, open_libav}, {AudioFormat::aac, open_libav},
    {AudioFormat::mp4, open_libav},      {AudioFormat::three_gp, open_libav},
    {AudioFormat::webm, open_libav},     {AudioFormat::matroska, open_libav},
    {AudioFormat::amr, open_libav},      {AudioFormat::wma, open_libav},
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
            return row.open(sniffed.format, file.subspan(sniffed.begin_bytes));
        }
    }
    return Errc::unsupported_format;
}

}  // namespace sonogate::audio
