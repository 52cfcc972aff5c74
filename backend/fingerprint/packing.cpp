#include "fingerprint/packing.hpp"

#include <array>
#include <cmath>

#include "fingerprint/strongest.hpp"

namespace sonogate::fingerprint {
namespace {

constexpr std::array<char, 4> magic = {'S', 'G', 'F', 'P'};
constexpr std::size_t checksum_offset = 20;
constexpr std::size_t header_bytes = 24;
constexpr std::size_t min_peak_bytes = 3;

// FNV-1a, 32 bits: finds damage, not malice; what malice may write is checked value by value.
std::uint32_t checksum(Bytes packed) noexcept {
    std::uint32_t hash = 2166136261U;
    for (std::size_t i = 0; i < packed.size(); ++i) {
        if (i < checksum_offset || i >= header_bytes) {
            hash = (hash ^ static_cast<std::uint32_t>(packed[i])) * 16777619U;
        }
    }
    return hash;
}

void write_varint(ByteWriter& out, std::uint32_t value) {
    while (value >= 0x80U) {
        out.write(static_cast<std::uint8_t>(value | 0x80U));
        value >>= 7U;
    }
    out.write(static_cast<std::uint8_t>(value));
}

// A number too long for 32 bits comes back as 2^32, which is no time.
std::uint64_t read_varint(ByteReader& in) noexcept {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        const auto byte = in.read<std::uint8_t>();
        value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
        if ((byte & 0x80U) == 0) {
            return value;
        }
    }
    return 1ULL << 32U;
}

// No peak beyond the last block's middle, and as few in half a second as Strongest can let pass
// (twice as many, since refinement moves peaks over the edges).
bool is_plausible(const Fingerprint& f) noexcept {
    const std::uint64_t end_time = (static_cast<std::uint64_t>(f.duration_ms) + 1) *
                                   sample_rate_hz * time_steps / (1000 * hop_frames);
    if (!f.peaks.empty() && f.peaks.back().time > end_time) {
        return false;
    }
    const std::size_t most = 2 * peaks_per_second(f.density);
    for (std::size_t i = most; i < f.peaks.size(); ++i) {
        if (f.peaks[i].time - f.peaks[i - most].time < rival_columns * time_steps) {
            return false;
        }
    }
    return true;
}

bool read_peaks(ByteReader& in, std::size_t count, Fingerprint& out) {
    out.peaks.reserve(count);
    std::uint64_t time = 0;
    for (std::size_t i = 0; i < count; ++i) {
        time += read_varint(in);
        const auto word = in.read<std::uint16_t>();
        if (!in.ok() || time > 0xffffffffU) {
            return false;
        }
        const Peak peak{.time = static_cast<std::uint32_t>(time),
                        .frequency = static_cast<std::uint16_t>(word & 0x0fffU),
                        .strength = static_cast<std::uint8_t>(word >> 12U)};
        if (!out.peaks.empty() && peak < out.peaks.back()) {
            return false;
        }
        out.peaks.push_back(peak);
    }
    return true;
}

}  // namespace

std::vector<std::byte> pack(const Fingerprint& fingerprint) {
    ByteWriter out;
    out.append(std::as_bytes(std::span(magic)));
    out.write(packing_version);
    out.write(fingerprint.density);
    out.write(static_cast<std::uint16_t>(sample_rate_hz));
    out.write(fingerprint.duration_ms);
    out.write(fingerprint.loudest_dbfs);
    out.write(static_cast<std::uint32_t>(fingerprint.peaks.size()));
    out.write(std::uint32_t{0});
    std::uint32_t before = 0;
    for (const Peak& peak : fingerprint.peaks) {
        write_varint(out, peak.time - before);
        out.write(static_cast<std::uint16_t>(peak.frequency |
                                             static_cast<std::uint32_t>(peak.strength) << 12U));
        before = peak.time;
    }
    std::vector<std::byte> packed = out.take();
    const std::uint32_t sum = checksum(packed);
    std::memcpy(packed.data() + checksum_offset, &sum, sizeof sum);
    return packed;
}

Result<Fingerprint> unpack(Bytes packed) {
    ByteReader in(packed);
    const auto found_magic = in.read<std::array<char, 4>>();
    const auto version = in.read<std::uint8_t>();
    const auto density = in.read<std::uint8_t>();
    const auto rate_hz = in.read<std::uint16_t>();
    Fingerprint out;
    out.duration_ms = in.read<std::uint32_t>();
    out.loudest_dbfs = in.read<float>();
    const auto count = in.read<std::uint32_t>();
    const auto sum = in.read<std::uint32_t>();
    if (!in.ok() || found_magic != magic || version < oldest_packing_version ||
        version > packing_version || density > 1 || rate_hz != sample_rate_hz ||
        !std::isfinite(out.loudest_dbfs) || count > in.left() / min_peak_bytes ||
        sum != checksum(packed)) {
        return Errc::malformed_request;
    }
    out.density = static_cast<Density>(density);
    if (!read_peaks(in, count, out) || in.left() != 0 || !is_plausible(out)) {
        return Errc::malformed_request;
    }
    return out;
}

}  // namespace sonogate::fingerprint
