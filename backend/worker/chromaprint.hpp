// Chromaprint's fingerprint of an upload (L. Lalinský, libchromaprint), as AcoustID takes it.
//
// For: fingerprint.cpp. Not for: sonogate's own catalog, which has landmarks.
#pragma once

#include <string>

#include "worker/resampled_intake.hpp"

namespace sonogate::worker {

inline constexpr int chromaprint_algorithm = 1;  // libchromaprint's number of it, and AcoustID's

struct ChromaprintIntake : ResampledIntake {
    std::string fingerprint;  // compressed, in URL-safe base64 without padding
};

// The audio is mixed and resampled here, so of an 11,025 Hz mono file of 16 bits it is fpcalc's to
// the bit, and of others as near as two resamplers are. Errors: those of take_resampled();
// too_short where it is too little for one item (about 2.7 s).
Result<ChromaprintIntake> take_chromaprint(const Input& input);

}  // namespace sonogate::worker
