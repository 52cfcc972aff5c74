#include "audio/format.hpp"

#include <algorithm>
#include <array>

#include "audio/mpeg_frame.hpp"
#include "audio/mpeg_tags.hpp"

namespace sonogate::audio {

namespace {

constexpr std::size_t mpeg_window_bytes =
    4096;  // a stream cut out of a longer one begins within a frame
constexpr std::size_t tagged_window_bytes = 1U << 16U;  // behind a tag there may be padding

// The first bytes of the file, copied once.
struct Head {
    std::array<char, 320> data{};  // an Ogg page header is at most 282 bytes
    std::size_t size = 0;

    explicit Head(Bytes file) noexcept : size(std::min(file.size(), data.size())) {
        if (size > 0) {
            std::memcpy(data.data(), file.data(), size);
        }
    }
    bool has(std::size_t at, std::string_view text) const noexcept {
        return at <= size && size - at >= text.size() &&
               std::string_view(data.data() + at, text.size()) == text;
    }
};

AudioFormat ogg_codec(const Head& head) noexcept {
    constexpr std::size_t page_header_bytes = 27;
    if (head.size < page_header_bytes) {
        return AudioFormat::unknown;
    }
    const std::size_t packet = page_header_bytes + static_cast<unsigned char>(head.data[26]);
    if (head.has(packet, "\x01vorbis")) {
        return AudioFormat::ogg_vorbis;
    }
    if (head.has(packet, "OpusHead")) {
        return AudioFormat::ogg_opus;
    }
    return head.has(packet,
                    "\x7f"
                    "FLAC")
               ? AudioFormat::ogg_flac
               : AudioFormat::unknown;
}

// ISO/IEC 14496-12 section 4.3, and the boxes that older QuickTime files begin with.
AudioFormat box_format(const Head& head) noexcept {
    if (head.has(4, "ftyp")) {
        return head.has(8, "3g") ? AudioFormat::three_gp : AudioFormat::mp4;
    }
    constexpr std::string_view boxes[] = {"moov", "mdat", "free", "skip", "wide"};
    const bool is_box = std::any_of(std::begin(boxes), std::end(boxes),
                                    [&](std::string_view box) { return head.has(4, box); });
    return is_box ? AudioFormat::mp4 : AudioFormat::unknown;
}

// RFC 8794 section 11.2.4: EBML's DocType stands among the first few elements.
AudioFormat ebml_format(const Head& head) noexcept {
    const std::string_view text(head.data.data(), std::min<std::size_t>(head.size, 64));
    return text.find("webm") != std::string_view::npos ? AudioFormat::webm : AudioFormat::matroska;
}

AudioFormat format_of(const Head& head) noexcept {
    using namespace std::string_view_literals;
    if (head.has(0, "RIFF") || head.has(0, "RIFX")) {
        return head.has(8, "WAVE") ? AudioFormat::wav : AudioFormat::unknown;
    }
    if (head.has(0, "FORM")) {
        return head.has(8, "AIFF") || head.has(8, "AIFC") ? AudioFormat::aiff
                                                          : AudioFormat::unknown;
    }
    if (head.has(0, "OggS")) {
        return ogg_codec(head);
    }
    if (head.has(0, "RF64")) {
        return head.has(8, "WAVE") ? AudioFormat::rf64 : AudioFormat::unknown;
    }
    if (head.has(0, "\x1a\x45\xdf\xa3")) {
        return ebml_format(head);
    }
    struct Magic {
        std::string_view bytes;
        AudioFormat format;
    };
    static constexpr Magic magics[] = {
        {"fLaC"sv, AudioFormat::flac},
        {"caff"sv, AudioFormat::caf},
        {".snd"sv, AudioFormat::au},
        {"dns."sv, AudioFormat::au},
        {"#!AMR"sv, AudioFormat::amr},
        {"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"sv, AudioFormat::wma},
        {"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"sv, AudioFormat::w64}};
    for (const Magic& magic : magics) {
        if (head.has(0, magic.bytes)) {
            return magic.format;
        }
    }
    return box_format(head);
}

}  // namespace

Sniffed sniff(Bytes file) noexcept {
    if (const AudioFormat format = format_of(Head(file)); format != AudioFormat::unknown) {
        return {format, 0};
    }
    const std::size_t behind_tags = after_id3_tags(file);
    if (behind_tags > 0 && behind_tags >= file.size()) {
        return {AudioFormat::mp3,
                file.size()};  // a tag, cut: what is tagged so is MP3 nearly always
    }
    if (behind_tags > 0 && format_of(Head(file.subspan(behind_tags))) == AudioFormat::flac) {
        return {AudioFormat::flac, behind_tags};
    }
    const std::size_t window = behind_tags > 0 ? tagged_window_bytes : mpeg_window_bytes;
    if (first_adts_frame(file, behind_tags, 1)) {
        return {AudioFormat::aac, behind_tags};
    }
    if (const auto frame = first_mpeg_frame(file, behind_tags, window)) {
        return {AudioFormat::mp3, *frame};
    }
    if (const auto frame = first_adts_frame(file, behind_tags, window)) {
        return {AudioFormat::aac, *frame};
    }
    return {};
}

}  // namespace sonogate::audio
