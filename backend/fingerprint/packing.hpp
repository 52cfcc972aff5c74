// A fingerprint as bytes: what the store keeps, what POST /v1/fingerprint answers (in base64).
//
// For: everything that leaves the process. Not for: the index, which is rebuilt from it.
// About 3 bytes a peak: 0.33 MB an hour of a track. Little-endian:
//
//     0  'S' 'G' 'F' 'P'
//     4  u8   version, 2; what version 1 holds is read as well: its clips had fewer peaks
//     5  u8   Density
//     6  u16  sample_rate_hz, 8000
//     8  u32  duration_ms
//    12  f32  loudest_dbfs
//    16  u32  number of peaks
//    20  u32  FNV-1a of all other bytes
//    24  peaks, ascending:  time since the one before as LEB128, u16 frequency | strength << 12
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "fingerprint/peak.hpp"

namespace sonogate::fingerprint {

inline constexpr std::uint8_t packing_version = 2;
inline constexpr std::uint8_t oldest_packing_version = 1;

std::vector<std::byte> pack(const Fingerprint& fingerprint);

// Anybody may have written `packed`: what comes back has ascending peaks inside its duration, no
// more of them in a second than the density allows, and took memory in proportion to the bytes.
// Errors: malformed_request.
Result<Fingerprint> unpack(Bytes packed);

}  // namespace sonogate::fingerprint
