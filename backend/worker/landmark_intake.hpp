// One upload's audio as a landmark fingerprint: taken in at 8 kHz, peaks found.
//
// For: identify, monitor, track_create, fingerprint. Not for: what is done with it.
// Memory: blocks, and the peaks; whatever the file's length or sample rate.
#pragma once

#include "catalog/record.hpp"
#include "fingerprint/peak.hpp"
#include "worker/resampled_intake.hpp"

namespace sonogate::worker {

struct LandmarkIntake : ResampledIntake {
    fingerprint::Fingerprint fingerprint;
};

// Reads `input`'s audio and its common parameters. Errors: those of take_resampled().
Result<LandmarkIntake> take_landmarks(Tools& tools, const Input& input,
                                      fingerprint::Density density);

// Puts it into the record that the librarian gets, and tells what it took. Body and facts of the
// answer are the caller's.
Answer put(LandmarkIntake&& taken, catalog::Record& record);

}  // namespace sonogate::worker
