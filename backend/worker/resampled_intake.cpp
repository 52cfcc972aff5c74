#include "worker/resampled_intake.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "audio/resampler.hpp"
#include "base/clock.hpp"
#include "worker/intake.hpp"

namespace sonogate::worker {
namespace {

// A sample rate of 1 Hz makes thousands of samples of each: so few go in that about this many come
// out.
constexpr std::uint64_t resampled_frames_a_step = 1U << 16U;

class Chain {
  public:
    Chain(audio::Resampler resampler, std::uint32_t in_hz, std::uint32_t out_hz,
          const MonoSink& sink, const std::function<bool()>& stop_requested)
        : resampler_(std::move(resampler)),
          step_frames_(static_cast<std::size_t>(
              std::max<std::uint64_t>(1, resampled_frames_a_step * in_hz / out_hz))),
          sink_(sink),
          stop_requested_(stop_requested) {}

    Result<void> push(std::span<const float> mono) {
        while (!mono.empty()) {
            const auto step = mono.first(std::min(mono.size(), step_frames_));
            mono = mono.subspan(step.size());
            resampled_.clear();
            if (auto pushed = resampler_.push(step, resampled_); !pushed) {
                return pushed;
            }
            if (auto taken = sink_(resampled_); !taken) {
                return taken;
            }
            if (stop_requested_ && stop_requested_()) {
                return Errc::cancelled;
            }
        }
        return {};
    }

    Result<void> finish() {
        resampled_.clear();
        if (auto finished = resampler_.finish(resampled_); !finished) {
            return finished;
        }
        return sink_(resampled_);
    }

  private:
    audio::Resampler resampler_;
    std::vector<float> resampled_;
    std::size_t step_frames_;
    const MonoSink& sink_;
    const std::function<bool()>& stop_requested_;
};

Result<void> run_chain(Chain& chain, Intake& intake) {
    for (;;) {
        const auto block = intake.next();
        if (!block) {
            return block.failure();
        }
        if (block->frames == 0) {
            return chain.finish();
        }
        if (auto pushed = chain.push(block->mono); !pushed) {
            return pushed;
        }
    }
}

}  // namespace

Result<ResampledIntake> take_resampled(const Input& input, std::uint32_t rate_hz,
                                       const MonoSink& sink) {
    const std::uint64_t began_us = now_us();
    auto intake = open_intake(input);
    if (!intake) {
        return intake.failure();
    }
    const std::uint32_t file_rate_hz = intake->info().sample_rate_hz;
    auto resampler = audio::Resampler::create(file_rate_hz, rate_hz);
    if (!resampler) {
        return resampler.failure();
    }
    Chain chain(std::move(*resampler), file_rate_hz, rate_hz, sink, input.request.stop_requested);
    if (auto run = run_chain(chain, *intake); !run) {
        return run.failure();
    }
    auto sha256 = intake->sha256();
    if (!sha256) {
        return sha256.failure();
    }
    auto audio = intake->audio_json();
    if (!audio) {
        return audio.failure();
    }
    ResampledIntake out;
    out.audio = audio->dump();
    out.sha256 = std::move(*sha256);
    out.duration_ms = intake->selected_frames() * 1000 / file_rate_hz;
    out.decoded_frames = intake->decoded_frames();
    const std::uint64_t decode_us = intake->decode_us();
    out.times.decode_us = static_cast<std::uint32_t>(decode_us);
    out.times.compute_us = static_cast<std::uint32_t>(now_us() - began_us - decode_us);
    return out;
}

}  // namespace sonogate::worker
