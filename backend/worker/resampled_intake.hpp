// One upload's audio as a mono stream at the rate that an algorithm works at: decode, mix,
// resample.
//
// For: landmark_intake.cpp and chromaprint.cpp. Not for: what is made of the samples.
// Memory: blocks, whatever the file's length or sample rate.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "worker/operations_table.hpp"

namespace sonogate::worker {

struct ResampledIntake {
    std::string audio;              // the `audio` object of api.md, as JSON text
    std::string sha256;             // of the file's bytes
    std::uint64_t duration_ms = 0;  // of the part that was used
    std::uint64_t decoded_frames = 0;
    shm::StageTimes times;  // decode_us, compute_us
};

// Takes the next samples, full scale ±1. An error ends the intake with it.
using MonoSink = std::function<Result<void>(std::span<const float> mono)>;

// Reads `input`'s audio and its common parameters. Errors: those of open_intake(), Intake and the
// sink.
Result<ResampledIntake> take_resampled(const Input& input, std::uint32_t rate_hz,
                                       const MonoSink& sink);

}  // namespace sonogate::worker
