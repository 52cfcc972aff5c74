#include "worker/landmark_intake.hpp"

#include "base/clock.hpp"
#include "fingerprint/fingerprinter.hpp"

namespace sonogate::worker {

Result<LandmarkIntake> take_landmarks(Tools& tools, const Input& input,
                                      fingerprint::Density density) {
    fingerprint::Fingerprinter fingerprinter(tools.ffts.get(fingerprint::block_frames), density);
    auto taken = take_resampled(input, fingerprint::sample_rate_hz,
                                [&](std::span<const float> mono) -> Result<void> {
                                    fingerprinter.push(mono);
                                    return {};
                                });
    if (!taken) {
        return taken.failure();
    }
    const std::uint64_t finish_us = now_us();
    LandmarkIntake out{std::move(*taken), fingerprinter.finish()};
    out.times.compute_us += static_cast<std::uint32_t>(now_us() - finish_us);
    return out;
}

}  // namespace sonogate::worker
