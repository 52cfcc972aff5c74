#include "audio/promise.hpp"

#include <algorithm>
#include <vector>

#include "audio/fields.hpp"
#include "audio/mpeg_frame.hpp"

namespace sonogate::audio {

namespace {

constexpr std::size_t max_chunks = 4096;
constexpr std::uint64_t w64_open_ended = ~std::uint64_t{0} >> 1U;  // what ffmpeg writes to a pipe

// The audio part of a container: where it begins and how long it is said to be.
struct DataPart {
    std::size_t begin = 0;
    std::uint64_t promised_bytes = 0;
    bool open_ended = false;  // the format's own way to say "to the end of the file"
};

// How the chunks of a container are written.
struct ChunkForm {
    std::size_t first;  // where the first chunk stands
    std::size_t id_bytes;
    std::size_t size_bytes;
    bool size_has_header;  // W64 counts the chunk's header
    std::size_t alignment;
    std::string_view data_id;
    std::uint64_t open_ended;  // the size that says "to the end of the file"
};

std::optional<DataPart> find_data(const Fields& fields, const ChunkForm& form) noexcept {
    std::size_t at = form.first;
    const std::size_t header_bytes = form.id_bytes + form.size_bytes;
    for (std::size_t i = 0; i < max_chunks; ++i) {
        const auto stated = fields.number(at + form.id_bytes, form.size_bytes);
        if (!stated) {
            return std::nullopt;
        }
        const std::uint64_t overhead = form.size_has_header ? header_bytes : 0U;
        const std::uint64_t body = *stated < overhead ? 0U : *stated - overhead;
        at += header_bytes;
        if (fields.is(at - header_bytes, form.data_id)) {
            return DataPart{at, body, *stated == form.open_ended};
        }
        if (body > fields.size() - at) {
            return std::nullopt;
        }
        at += static_cast<std::size_t>(body);
        at += (form.alignment - at % form.alignment) % form.alignment;
    }
    return std::nullopt;
}

std::optional<DataPart> riff_data(Bytes file, bool rf64) noexcept {
    const Fields little(file, false);
    const Fields fields(file, little.is(0, "RIFX"));
    auto data = find_data(fields, {12, 4, 4, false, 2, "data", 0xFFFFFFFFU});
    if (data && rf64 && data->open_ended && little.is(12, "ds64")) {
        data->promised_bytes = little.number(28, 8).value_or(0);
        data->open_ended = false;
    }
    return data;
}

std::optional<DataPart> aiff_data(Bytes file) noexcept {
    constexpr std::uint64_t offset_and_block_size_bytes = 8;
    auto data = find_data(Fields(file, true), {12, 4, 4, false, 2, "SSND", 0xFFFFFFFFU});
    if (data) {
        data->begin += offset_and_block_size_bytes;
        data->promised_bytes -= std::min(data->promised_bytes, offset_and_block_size_bytes);
    }
    return data;
}

std::optional<DataPart> caf_data(Bytes file) noexcept {
    constexpr std::uint64_t edit_count_bytes = 4;
    auto data = find_data(Fields(file, true), {8, 4, 8, false, 1, "data", ~std::uint64_t{0}});
    if (data) {
        data->begin += edit_count_bytes;
        data->promised_bytes -= std::min(data->promised_bytes, edit_count_bytes);
    }
    return data;
}

std::optional<DataPart> au_data(Bytes file) noexcept {
    const Fields fields(file, !Fields(file, false).is(0, "dns."));
    const auto begin = fields.number(4, 4);
    const auto bytes = fields.number(8, 4);
    if (!begin || !bytes) {
        return std::nullopt;
    }
    return DataPart{static_cast<std::size_t>(*begin), *bytes, *bytes == 0xFFFFFFFFU};
}

std::optional<DataPart> data_part(AudioFormat format, Bytes file) noexcept {
    using namespace std::string_view_literals;
    switch (format) {
        case AudioFormat::wav:
            return riff_data(file, false);
        case AudioFormat::rf64:
            return riff_data(file, true);
        case AudioFormat::aiff:
            return aiff_data(file);
        case AudioFormat::caf:
            return caf_data(file);
        case AudioFormat::au:
            return au_data(file);
        case AudioFormat::w64:
            return find_data(
                Fields(file, false),
                {40, 16, 8, true, 8, "data\xf3\xac\xd3\x11\x8c\xd1"sv, w64_open_ended});
        default:
            return std::nullopt;
    }
}

bool has_data_part(AudioFormat format) noexcept {
    return format == AudioFormat::wav || format == AudioFormat::rf64 ||
           format == AudioFormat::aiff || format == AudioFormat::caf || format == AudioFormat::au ||
           format == AudioFormat::w64;
}

// RFC 3533: the last page of a stream says so (header type 4), and every page is as long as its
// lacing values add up to.
bool ogg_is_cut(Bytes file) {
    constexpr std::size_t max_page_bytes = 27 + 255 + 255 * 255;
    const std::size_t from = file.size() > max_page_bytes ? file.size() - max_page_bytes : 0;
    const std::vector<std::byte> tail(file.begin() + static_cast<std::ptrdiff_t>(from), file.end());
    const std::string_view text = as_text(tail);
    const std::size_t page = text.rfind("OggS");
    if (page == std::string_view::npos || text.size() - page < 27) {
        return true;
    }
    const auto byte_at = [&](std::size_t i) { return static_cast<unsigned char>(text[page + i]); };
    const std::size_t segments = byte_at(26);
    std::size_t page_bytes = 27 + segments;
    if (text.size() - page < page_bytes) {
        return true;
    }
    for (std::size_t i = 0; i < segments; ++i) {
        page_bytes += byte_at(27 + i);
    }
    return text.size() - page < page_bytes || (byte_at(5) & 4U) == 0;
}

}  // namespace

bool promises_more(AudioFormat format, Bytes file) {
    switch (format) {
        case AudioFormat::mp3:
            return mpeg_is_cut(file);
        case AudioFormat::ogg_vorbis:
        case AudioFormat::ogg_opus:
        case AudioFormat::ogg_flac:
            return ogg_is_cut(file);
        default:
            break;
    }
    if (!has_data_part(format)) {
        return false;
    }
    const auto data = data_part(format, file);
    if (!data) {
        return true;
    }
    return !data->open_ended &&
           (data->begin > file.size() || data->promised_bytes > file.size() - data->begin);
}

std::optional<SizeCorrection> size_correction(AudioFormat format, Bytes file) noexcept {
    const auto data = data_part(format, file);
    if (!data || data->begin >= file.size()) {
        return std::nullopt;
    }
    const std::uint64_t there = file.size() - data->begin;
    if (format == AudioFormat::caf && data->promised_bytes > there) {
        SizeCorrection cut{.at = data->begin - 4 - 8, .size = 8};
        for (std::size_t i = 0; i < 8; ++i) {
            cut.bytes[i] = static_cast<std::byte>((there + 4) >> (56U - 8U * i));
        }
        return cut;
    }
    const auto riff_bytes = Fields(file, false).number(4, 4).value_or(0);
    if (format == AudioFormat::wav && data->promised_bytes == 0 &&
        (riff_bytes == 0xFFFFFFFFU || riff_bytes + 8 < file.size())) {
        SizeCorrection unknown{.at = data->begin - 4, .size = 4};
        const auto bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(there, 0xFFFFFFFFU));
        std::memcpy(unknown.bytes.data(), &bytes, sizeof(bytes));
        return unknown;
    }
    return std::nullopt;
}

}  // namespace sonogate::audio
