#include "worker/landmark_intake.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "audio/resampler.hpp"
#include "base/clock.hpp"
#include "fingerprint/fingerprinter.hpp"
#include "worker/intake.hpp"

namespace sonogate::worker {
namespace {

// A sample rate of 1 Hz makes 8000 samples of each: so few go in that about this many come out.
constexpr std::uint64_t resampled_frames_a_step = 1U << 16U;

class Chain {
  public:
    Chain(dsp::RealFft& fft, fingerprint::Density density, audio::Resampler resampler,
          std::uint32_t rate_hz)
        : fingerprinter_(fft, density),
          resampler_(std::move(resampler)),
          step_frames_(static_cast<std::size_t>(std::max<std::uint64_t>(
              1, resampled_frames_a_step * rate_hz / fingerprint::sample_rate_hz))) {}

    Result<void> push(std::span<const float> mono, const std::function<bool()>& stop_requested) {
        while (!mono.empty()) {
            const auto step = mono.first(std::min(mono.size(), step_frames_));
            mono = mono.subspan(step.size());
            resampled_.clear();
            if (auto pushed = resampler_.push(step, resampled_); !pushed) {
                return pushed;
            }
            fingerprinter_.push(resampled_);
            if (stop_requested && stop_requested()) {
                return Errc::cancelled;
            }
        }
        return {};
    }

    Result<fingerprint::Fingerprint> finish() {
        resampled_.clear();
        if (auto finished = resampler_.finish(resampled_); !finished) {
            return finished.failure();
        }
        fingerprinter_.push(resampled_);
        return fingerprinter_.finish();
    }

  private:
    fingerprint::Fingerprinter fingerprinter_;
    audio::Resampler resampler_;
    std::vector<float> resampled_;
    std::size_t step_frames_;
};

Result<fingerprint::Fingerprint> run_chain(Chain& chain, Intake& intake,
                                           const std::function<bool()>& stop_requested) {
    for (;;) {
        const auto block = intake.next();
        if (!block) {
            return block.failure();
        }
        if (block->frames == 0) {
            return chain.finish();
        }
        if (auto pushed = chain.push(block->mono, stop_requested); !pushed) {
            return pushed.failure();
        }
    }
}

}  // namespace

Result<LandmarkIntake> take_landmarks(Tools& tools, const Input& input,
                                      fingerprint::Density density) {
    const std::uint64_t began_us = now_us();
    const auto selection = selection_of(input.envelope.params);
    if (!selection) {
        return selection.failure();
    }
    auto intake = Intake::open(input.envelope.audio,
                               {.selection = *selection,
                                .limits = input.request.job.limits,
                                .stop_requested = input.request.stop_requested},
                               input.facts);
    if (!intake) {
        return intake.failure();
    }
    const std::uint32_t rate_hz = intake->info().sample_rate_hz;
    auto resampler = audio::Resampler::create(rate_hz, fingerprint::sample_rate_hz);
    if (!resampler) {
        return resampler.failure();
    }
    Chain chain(tools.ffts.get(fingerprint::block_frames), density, std::move(*resampler), rate_hz);
    auto made = run_chain(chain, *intake, input.request.stop_requested);
    if (!made) {
        return made.failure();
    }
    auto sha256 = intake->sha256();
    if (!sha256) {
        return sha256.failure();
    }
    auto audio = intake->audio_json();
    if (!audio) {
        return audio.failure();
    }
    LandmarkIntake out;
    out.fingerprint = std::move(*made);
    out.audio = audio->dump();
    out.sha256 = std::move(*sha256);
    out.duration_ms = intake->selected_frames() * 1000 / rate_hz;
    out.decoded_frames = intake->decoded_frames();
    const std::uint64_t decode_us = intake->decode_us();
    out.times.decode_us = static_cast<std::uint32_t>(decode_us);
    out.times.compute_us = static_cast<std::uint32_t>(now_us() - began_us - decode_us);
    return out;
}

}  // namespace sonogate::worker
