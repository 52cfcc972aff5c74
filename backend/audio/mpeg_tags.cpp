#include "audio/mpeg_tags.hpp"

#include <algorithm>

#include "audio/fields.hpp"

namespace sonogate::audio {

namespace {

constexpr std::size_t id3v1_bytes = 128;
constexpr std::size_t ape_footer_bytes = 32;
constexpr std::size_t lyrics_footer_bytes = 15;

// The whole tag whose footer is the last of these bytes; 0 where none is.
std::size_t end_tag_bytes(Bytes file) noexcept {
    const Fields fields(file, false);
    const std::size_t end = file.size();
    if (end >= ape_footer_bytes && fields.is(end - ape_footer_bytes, "APETAGEX")) {
        constexpr std::uint64_t has_header = 1U << 31U;  // which the size does not count
        const std::uint64_t flags = fields.number(end - 12, 4).value_or(0);
        const std::uint64_t bytes = fields.number(end - 20, 4).value_or(0);
        return bytes + ((flags & has_header) != 0 ? ape_footer_bytes : 0U);
    }
    if (end >= lyrics_footer_bytes && fields.is(end - 9, "LYRICS200")) {
        std::size_t bytes = 0;
        for (std::size_t at = end - lyrics_footer_bytes; at < end - 9; ++at) {
            bytes = bytes * 10 + (fields.number(at, 1).value_or('0') - '0') % 10;
        }
        return bytes + lyrics_footer_bytes;
    }
    return end >= id3v1_bytes && fields.is(end - id3v1_bytes, "TAG") ? id3v1_bytes : 0;
}

}  // namespace

std::size_t after_id3_tags(Bytes file) noexcept {
    const Fields fields(file, true);
    std::size_t at = 0;
    while (fields.is(at, "ID3")) {
        const auto header = fields.number(at + 3, 3);  // version, revision, flags
        const auto size = fields.number(at + 6, 4);    // four times seven bits
        if (!header || !size || *header >> 16U == 0xFFU || (*header >> 8U & 0xFFU) == 0xFFU ||
            (*size & 0x80808080U) != 0) {
            break;
        }
        const std::uint64_t body_bytes = (*size >> 24U) << 21U | (*size >> 16U & 0x7FU) << 14U |
                                         (*size >> 8U & 0x7FU) << 7U | (*size & 0x7FU);
        const std::size_t footer_bytes = (*header & 0x10U) != 0 ? 10U : 0U;
        at += 10U + static_cast<std::size_t>(body_bytes) + footer_bytes;
    }
    return at;
}

std::size_t before_end_tags(Bytes file) noexcept {
    for (;;) {
        const std::size_t bytes = end_tag_bytes(file);
        if (bytes == 0 || bytes > file.size()) {
            return file.size();
        }
        file = file.first(file.size() - bytes);
    }
}

bool is_tag_or_padding(Bytes between) noexcept {
    const Fields fields(between, true);
    constexpr std::string_view tags[] = {"ID3", "TAG", "APETAGEX", "LYRICSBEGIN"};
    return std::any_of(std::begin(tags), std::end(tags),
                       [&](std::string_view tag) { return fields.is(0, tag); }) ||
           std::all_of(between.begin(), between.end(),
                       [](std::byte byte) { return byte == std::byte{0}; });
}

// Xing's fields are optional. Behind them LAME and libavformat put 12 bits of delay and 12 of
// padding; a decoder adds 529 samples of its own to the delay and takes them off the padding.
VbrTag vbr_tag(Bytes file, std::size_t at, const MpegFrame& frame) noexcept {
    constexpr std::uint64_t decoder_delay = 529;
    const Fields fields(file, true);
    const auto number = [&](std::size_t place) { return fields.number(place, 4).value_or(0); };
    const std::size_t side_info_bytes =
        frame.version == 1 ? (frame.mono ? 17U : 32U) : (frame.mono ? 9U : 17U);
    const std::size_t xing = at + 4U + side_info_bytes;
    const std::size_t vbri = at + 4U + 32U;
    if (frame.layer != 3) {
        return {};
    }
    if (fields.is(vbri, "VBRI")) {
        return {static_cast<std::uint32_t>(number(vbri + 14)), 0};
    }
    const std::uint64_t has = number(xing + 4);
    if ((!fields.is(xing, "Xing") && !fields.is(xing, "Info")) || (has & 1U) == 0) {
        return {};
    }
    VbrTag tag{static_cast<std::uint32_t>(number(xing + 8)), 0};
    const std::size_t encoder = xing + 12U + ((has & 2U) != 0 ? 4U : 0U) +
                                ((has & 4U) != 0 ? 100U : 0U) + ((has & 8U) != 0 ? 4U : 0U);
    if (fields.is(encoder, "LAME") || fields.is(encoder, "Lav")) {
        const std::uint64_t delay_and_padding = number(encoder + 21) >> 8U;
        tag.hidden_samples =
            (delay_and_padding >> 12U) + std::max(delay_and_padding & 0xFFFU, decoder_delay);
    }
    return tag;
}

std::optional<std::uint64_t> promised_samples(Bytes file) noexcept {
    const auto first = mpeg_frame_at(file, 0);
    const VbrTag tag = first ? vbr_tag(file, 0, *first) : VbrTag{};
    if (tag.frames == 0) {
        return std::nullopt;
    }
    const std::uint64_t samples = std::uint64_t{tag.frames} * (first->version == 1 ? 1152U : 576U);
    return samples - std::min(samples, tag.hidden_samples);
}

}  // namespace sonogate::audio
