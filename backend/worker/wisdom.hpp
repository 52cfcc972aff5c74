// FFTW's wisdom, planned once and kept in the state folder.
//
// For: the zygote, so that no worker spends its first job timing transforms. Not for: the
// transforms (dsp/fft.hpp).
#pragma once

#include <string>

#include "dsp/fft.hpp"

namespace sonogate::worker {

// Makes the plans of the common sizes: reads FOLDER/fftw-wisdom, or measures the common sizes and
// writes it. A file that is unreadable or no wisdom is planned anew; a folder that cannot be
// written costs the planning at each start.
void plan_common_transforms(const std::string& state_folder, dsp::FftPlans& plans);

}  // namespace sonogate::worker
