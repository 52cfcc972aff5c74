#include "worker/landmark_intake.hpp"

#include <utility>

#include "base/clock.hpp"
#include "fingerprint/fingerprinter.hpp"
#include "fingerprint/packing.hpp"

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

Answer put(LandmarkIntake&& taken, catalog::Record& record) {
    record.audio = std::move(taken.audio);
    record.sha256 = std::move(taken.sha256);
    record.duration_ms = taken.duration_ms;
    record.fingerprint = fingerprint::pack(taken.fingerprint);
    Answer answer;
    answer.times = taken.times;
    answer.decoded_frames = taken.decoded_frames;
    return answer;
}

}  // namespace sonogate::worker
