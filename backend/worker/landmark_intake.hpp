// One upload's audio as a landmark fingerprint: decode, mix, resample to 8 kHz, find peaks.
//
// For: identify, track_create, fingerprint. Not for: what is done with it.
// Memory: blocks, and the peaks; whatever the file's length or sample rate.
#pragma once

#include <cstdint>
#include <string>

#include "fingerprint/peak.hpp"
#include "worker/operations_table.hpp"

namespace sonogate::worker {

struct LandmarkIntake {
    fingerprint::Fingerprint fingerprint;
    std::string audio;              // the `audio` object of api.md, as JSON text
    std::string sha256;             // of the file's bytes
    std::uint64_t duration_ms = 0;  // of the part that was used
    std::uint64_t decoded_frames = 0;
    shm::StageTimes times;  // decode_us, compute_us
};

// Reads `input`'s audio and its common parameters. Errors: those of selection_of() and Intake.
Result<LandmarkIntake> take_landmarks(Tools& tools, const Input& input,
                                      fingerprint::Density density);

}  // namespace sonogate::worker
