#include "audio/mpeg_frame.hpp"

#include <algorithm>
#include <array>

#include "audio/mpeg_tags.hpp"

namespace sonogate::audio {

namespace {

constexpr std::array<std::uint16_t, 16> v1_layer1 = {0,   32,  64,  96,  128, 160, 192, 224,
                                                     256, 288, 320, 352, 384, 416, 448, 0};
constexpr std::array<std::uint16_t, 16> v1_layer2 = {0,   32,  48,  56,  64,  80,  96,  112,
                                                     128, 160, 192, 224, 256, 320, 384, 0};
constexpr std::array<std::uint16_t, 16> v1_layer3 = {0,   32,  40,  48,  56,  64,  80,  96,
                                                     112, 128, 160, 192, 224, 256, 320, 0};
constexpr std::array<std::uint16_t, 16> v2_layer1 = {0,   32,  48,  56,  64,  80,  96,  112,
                                                     128, 144, 160, 176, 192, 224, 256, 0};
constexpr std::array<std::uint16_t, 16> v2_layer23 = {0,  8,  16, 24,  32,  40,  48,  56,
                                                      64, 80, 96, 112, 128, 144, 160, 0};
constexpr std::array<std::uint32_t, 3> v1_rates_hz = {44100, 48000, 32000};

std::uint32_t bitrate_kbps(unsigned version, unsigned layer, unsigned index) noexcept {
    if (version == 1) {
        return layer == 1 ? v1_layer1[index] : layer == 2 ? v1_layer2[index] : v1_layer3[index];
    }
    return layer == 1 ? v2_layer1[index] : v2_layer23[index];
}

std::size_t frame_bytes(const MpegFrame& frame, std::uint32_t kbps, unsigned padding) noexcept {
    const std::size_t bits_per_s = std::size_t{kbps} * 1000U;
    if (frame.layer == 1) {
        return (12U * bits_per_s / frame.rate_hz + padding) * 4U;
    }
    const std::size_t slots = frame.layer == 3 && frame.version != 1 ? 72U : 144U;
    return slots * bits_per_s / frame.rate_hz + padding;
}

template <std::size_t n>
std::optional<std::array<std::uint8_t, n>> copy_at(Bytes file, std::size_t at) noexcept {
    std::array<std::uint8_t, n> out{};
    if (at > file.size() || file.size() - at < n) {
        return std::nullopt;
    }
    std::memcpy(out.data(), file.data() + at, n);
    return out;
}

struct AdtsFrame {
    std::uint32_t kind = 0;  // version, profile, rate and channels: the same in all of a stream
    std::size_t bytes = 0;
};

std::optional<AdtsFrame> adts_frame_at(Bytes file, std::size_t at) noexcept {
    constexpr std::size_t header_bytes = 7;
    constexpr unsigned rates = 13;  // table 35
    const auto raw = copy_at<header_bytes>(file, at);
    if (!raw) {
        return std::nullopt;
    }
    const auto& b = *raw;
    const std::size_t bytes =
        (std::size_t{b[3]} & 3U) << 11U | std::size_t{b[4]} << 3U | std::size_t{b[5]} >> 5U;
    if (b[0] != 0xFFU || (b[1] & 0xF6U) != 0xF0U || ((b[2] >> 2U) & 15U) >= rates ||
        bytes <= header_bytes) {
        return std::nullopt;
    }
    return AdtsFrame{std::uint32_t{b[1]} << 16U | (b[2] & 0xFDU) << 8U | (b[3] & 0xC0U), bytes};
}

}  // namespace

std::optional<MpegFrame> mpeg_frame_at(Bytes file, std::size_t at) noexcept {
    const auto raw = copy_at<4>(file, at);
    if (!raw) {
        return std::nullopt;
    }
    const auto& b = *raw;
    const unsigned version_bits = (b[1] >> 3U) & 3U;
    const unsigned layer_bits = (b[1] >> 1U) & 3U;
    const unsigned bitrate_index = b[2] >> 4U;
    const unsigned rate_index = (b[2] >> 2U) & 3U;
    const bool synchronised = b[0] == 0xFFU && (b[1] & 0xE0U) == 0xE0U;
    if (!synchronised || version_bits == 1 || layer_bits == 0 || bitrate_index == 0 ||
        bitrate_index == 15 || rate_index == 3 || (b[3] & 3U) == 2) {
        return std::nullopt;
    }
    MpegFrame frame;
    frame.version = version_bits == 3 ? 1U : version_bits == 2 ? 2U : 25U;
    frame.layer = 4U - layer_bits;
    frame.rate_hz = v1_rates_hz[rate_index] / (frame.version == 1   ? 1U
                                               : frame.version == 2 ? 2U
                                                                    : 4U);
    frame.mono = (b[3] >> 6U) == 3U;
    frame.bytes = frame_bytes(frame, bitrate_kbps(frame.version, frame.layer, bitrate_index),
                              (b[2] >> 1U) & 1U);
    return frame;
}

std::optional<std::size_t> first_mpeg_frame(Bytes file, std::size_t from,
                                            std::size_t window_bytes) noexcept {
    const std::size_t end = std::min(file.size(), from > file.size() ? from : from + window_bytes);
    for (std::size_t at = from; at < end; ++at) {
        const auto first = mpeg_frame_at(file, at);
        if (!first) {
            continue;
        }
        const auto second = mpeg_frame_at(file, at + first->bytes);
        if (at == from && at + first->bytes >= file.size()) {
            return at;
        }
        if (!second || !second->same_stream(*first)) {
            continue;
        }
        const auto third = mpeg_frame_at(file, at + first->bytes + second->bytes);
        if (at == from || (third && third->same_stream(*first))) {
            return at;
        }
    }
    return std::nullopt;
}

std::optional<std::size_t> first_adts_frame(Bytes file, std::size_t from,
                                            std::size_t window_bytes) noexcept {
    constexpr int agreeing = 3;
    const std::size_t end = std::min(file.size(), from > file.size() ? from : from + window_bytes);
    for (std::size_t begin = from; begin < end; ++begin) {
        const auto first = adts_frame_at(file, begin);
        std::size_t at = begin;
        int frames = 0;
        while (frames < agreeing && first) {
            const auto frame = adts_frame_at(file, at);
            if (!frame || frame->kind != first->kind) {
                break;
            }
            ++frames;
            at += frame->bytes;
        }
        if (frames == agreeing || (frames > 0 && begin == from && at >= file.size())) {
            return begin;
        }
    }
    return std::nullopt;
}

std::optional<std::size_t> frame_ending(Bytes packet, const MpegFrame& like) noexcept {
    for (std::size_t at = 0; at < packet.size(); ++at) {
        const auto frame = mpeg_frame_at(packet, at);
        if (frame && frame->same_stream(like) && frame->bytes == packet.size() - at) {
            return at;
        }
    }
    return std::nullopt;
}

bool mpeg_is_cut(Bytes file) noexcept {
    const auto begin = first_mpeg_frame(file, 0, file.size());
    if (!begin) {
        return true;
    }
    const auto first = mpeg_frame_at(file, *begin);
    if (!first) {
        return true;  // somebody changed the bytes since
    }
    const std::uint32_t promised = vbr_tag(file, *begin, *first).frames;
    std::uint64_t frames = 0;
    std::size_t at = *begin;
    while (at < file.size()) {
        const auto frame = mpeg_frame_at(file, at);
        if (frame && frame->same_stream(*first)) {
            if (file.size() - at < frame->bytes) {
                return true;
            }
            ++frames;
            at += frame->bytes;
            continue;
        }
        const auto next = first_mpeg_frame(file, at + 1, file.size());
        if (!next) {
            break;  // tags at the end, or nothing of use
        }
        at = *next;
    }
    return promised > 0 && frames < std::uint64_t{promised} + 1U;
}

}  // namespace sonogate::audio
