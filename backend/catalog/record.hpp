// What a worker hands to the librarian about one upload: what it measured, and what was asked.
//
// For: identify, monitor and track_create, between two processes of which the first parsed hostile
// bytes. Not for: the store. The librarian trusts none of it: unpack() checks every field again, so
// a worker that was taken over can spoil its own job and nothing else.
//
//   'S' 'G' 'R' 'C'   u8 version 1   u8 multi   u16 labels set (bit i: label_parameters[i])
//   u32 limit   f64 max_false_positive   u64 duration_ms
//   then each as u32 bytes and the bytes: audio, sha256, track_id, the labels that are set,
//   fingerprint
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "catalog/track.hpp"

namespace sonogate::catalog {

inline constexpr std::uint32_t default_matches = 5;
inline constexpr std::uint32_t max_matches = 50;
inline constexpr double default_max_false_positive = 1e-6;

struct Record {
    std::string audio;              // the `audio` object of api.md, as JSON text
    std::string sha256;             // empty where the client sent a fingerprint
    std::string track_id;           // a JSON body's own, else empty
    std::uint64_t duration_ms = 0;  // of the audio
    LabelChanges labels;

    std::uint32_t limit = default_matches;
    double max_false_positive = default_max_false_positive;
    bool multi = false;

    std::vector<std::byte> fingerprint;  // packed (fingerprint/packing.hpp)
};

std::string pack(const Record& record);

// Errors: internal (no honest worker writes such a thing); invalid_parameter, named, for labels and
// track_id that are not what api.md allows.
Result<Record> unpack_record(Bytes packed);

}  // namespace sonogate::catalog
