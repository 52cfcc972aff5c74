#include "catalog/record.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

namespace sonogate::catalog {
namespace {

constexpr std::array<char, 4> magic = {'S', 'G', 'R', 'C'};
constexpr std::uint8_t version = 1;
constexpr std::size_t max_audio_bytes = 4096;
constexpr std::size_t sha256_digits = 64;

void write_sized(ByteWriter& out, Bytes bytes) {
    out.write(static_cast<std::uint32_t>(bytes.size()));
    out.append(bytes);
}

std::string_view read_text(ByteReader& in) {
    return as_text(in.take(in.read<std::uint32_t>()));
}

bool is_sha256(std::string_view text) noexcept {
    return text.empty() ||
           (text.size() == sha256_digits && std::all_of(text.begin(), text.end(), [](char c) {
                return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            }));
}

bool is_small_object(std::string_view text) {
    return text.size() <= max_audio_bytes &&
           nlohmann::json::parse(text, nullptr, false).is_object();
}

bool is_asked_well(const Record& record) noexcept {
    return record.limit >= 1 && record.limit <= max_matches &&
           std::isfinite(record.max_false_positive) && record.max_false_positive >= 0 &&
           record.max_false_positive <= 1;
}

}  // namespace

std::string pack(const Record& record) {
    std::uint16_t labels_set = 0;
    for (std::size_t i = 0; i < label_parameters.size(); ++i) {
        labels_set = static_cast<std::uint16_t>(
            labels_set | (record.labels.of(label_parameters[i])->has_value() ? 1U << i : 0U));
    }
    ByteWriter out;
    out.append(std::as_bytes(std::span(magic)));
    out.write(version);
    out.write(static_cast<std::uint8_t>(record.multi));
    out.write(labels_set);
    out.write(record.limit);
    out.write(record.max_false_positive);
    out.write(record.duration_ms);
    write_sized(out, as_bytes_of(record.audio));
    write_sized(out, as_bytes_of(record.sha256));
    write_sized(out, as_bytes_of(record.track_id));
    for (const Parameter parameter : label_parameters) {
        if (const auto& label = *record.labels.of(parameter)) {
            write_sized(out, as_bytes_of(*label));
        }
    }
    write_sized(out, record.fingerprint);
    return std::string(as_text(out.bytes()));
}

Result<Record> unpack_record(Bytes packed) {
    ByteReader in(packed);
    const auto found_magic = in.read<std::array<char, 4>>();
    const auto found_version = in.read<std::uint8_t>();
    Record out;
    out.multi = in.read<std::uint8_t>() != 0;
    const auto labels_set = in.read<std::uint16_t>();
    out.limit = in.read<std::uint32_t>();
    out.max_false_positive = in.read<double>();
    out.duration_ms = in.read<std::uint64_t>();
    out.audio = read_text(in);
    out.sha256 = read_text(in);
    out.track_id = read_text(in);
    if (!in.ok() || found_magic != magic || found_version != version || !is_asked_well(out) ||
        !is_sha256(out.sha256) || !is_small_object(out.audio)) {
        return Errc::internal;
    }
    if (!out.track_id.empty() && !is_track_id(out.track_id)) {
        return invalid(Parameter::track_id);
    }
    for (std::size_t i = 0; i < label_parameters.size(); ++i) {
        if ((labels_set >> i & 1U) != 0) {
            auto label = make_label(label_parameters[i], read_text(in));
            if (!label) {
                return label.failure();
            }
            *out.labels.of(label_parameters[i]) = *std::move(label);
        }
    }
    const Bytes fingerprint = in.take(in.read<std::uint32_t>());
    if (!in.ok() || in.left() != 0 || labels_set >> label_parameters.size() != 0) {
        return Errc::internal;
    }
    out.fingerprint.assign(fingerprint.begin(), fingerprint.end());
    return out;
}

}  // namespace sonogate::catalog
