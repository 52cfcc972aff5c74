// analyze: levels, spectral shape, mean spectrum and sinusoids of an upload, in one pass over its
// blocks.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "dsp/levels.hpp"
#include "dsp/mean_spectrum.hpp"
#include "dsp/sinusoids.hpp"
#include "dsp/spectral_shape.hpp"
#include "worker/intake.hpp"
#include "worker/note.hpp"
#include "worker/operations_table.hpp"
#include "worker/parameters.hpp"

namespace sonogate::worker {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t json_bytes_a_bin =
    40;  // a number in the tree, its neighbours while it grows, and its text

// Enough digits for the unit, and no more: answers stay short.
double rounded(double value, double step) noexcept {
    return std::round(value / step) * step + 0.0;
}

struct Needs {
    bool levels;
    bool crossings;
    bool spectrum;
};

Needs needs_of(const AnalyzeParameters& parameters) noexcept {
    return {
        parameters.levels, parameters.spectral,
        parameters.spectral || parameters.peaks > 0 || parameters.spectrum == SpectrumKind::mean};
}

Json levels_json(const dsp::LevelFigures& figures) {
    return {{"peak_dbfs", rounded(figures.peak_dbfs, 1e-3)},
            {"rms_dbfs", rounded(figures.rms_dbfs, 1e-3)},
            {"crest_db", rounded(figures.crest_db, 1e-3)},
            {"dc_offset", rounded(figures.dc_offset, 1e-7)},
            {"clipped_samples", figures.clipped_samples},
            {"silence_ratio", rounded(figures.silence_ratio, 1e-6)}};
}

Json spectral_json(const dsp::Spectrum& spectrum, double bin_hz,
                   const dsp::ZeroCrossings& crossings) {
    const dsp::SpectralShape shape = dsp::spectral_shape(spectrum.power, bin_hz);
    return {{"centroid_hz", rounded(shape.centroid_hz, 1e-3)},
            {"rolloff_hz", rounded(shape.rolloff_hz, 1e-3)},
            {"bandwidth_hz", rounded(shape.bandwidth_hz, 1e-3)},
            {"flatness", shape.flatness},
            {"zero_crossing_rate", rounded(crossings.rate(), 1e-9)}};
}

Json spectrum_json(const dsp::Spectrum& spectrum, const AnalyzeParameters& parameters,
                   double bin_hz) {
    Json::array_t mean_db;
    mean_db.reserve(spectrum.power.size());
    for (const double power : spectrum.power) {
        mean_db.emplace_back(rounded(dsp::power_decibels(power), 1e-2));
    }
    return {{"fft_size", spectrum.fft_size},
            {"hop", parameters.fft_size == 0 ? spectrum.fft_size : parameters.hop},
            {"window", dsp::name_of(parameters.window)},
            {"resolution_hz", bin_hz},
            {"mean_db", std::move(mean_db)}};
}

Json peaks_json(const dsp::Spectrum& spectrum, const AnalyzeParameters& parameters, double bin_hz) {
    Json peaks = Json::array();
    for (const dsp::Sinusoid& sinusoid : dsp::find_sinusoids(spectrum, parameters.peaks)) {
        const double frequency_hz = std::abs(sinusoid.frequency_bins) * bin_hz;
        Json peak = {{"frequency_hz", rounded(frequency_hz, 1e-5)},
                     {"magnitude_db", rounded(dsp::decibels(sinusoid.amplitude), 1e-3)},
                     {"amplitude", sinusoid.amplitude}};
        if (parameters.fft_size == 0) {
            peak["phase_rad"] = rounded(sinusoid.phase_rad, 1e-5);
        }
        if (const auto note = nearest_note(frequency_hz)) {
            peak["note"] = note->name;
            peak["cents"] = rounded(note->cents, 1e-2);
        }
        peaks.push_back(std::move(peak));
    }
    return peaks;
}

// One analysis under way.
class Analysis {
  public:
    Analysis(Tools& tools, const Request& request, const AnalyzeParameters& parameters,
             const Intake& intake)
        : parameters_(parameters),
          needs_(needs_of(parameters)),
          memory_bytes_(request.job.job_memory_bytes),
          levels_(intake.info().sample_rate_hz, intake.info().channels),
          spectrum_(tools.ffts, {parameters.fft_size, parameters.hop, parameters.window},
                    memory_bytes_, request.stop_requested) {}

    Result<void> run(Intake& intake) {
        if (needs_.spectrum) {
            if (auto fits = spectrum_.expect(intake.expected_frames().value_or(1)); !fits) {
                return fits;
            }
        }
        for (;;) {
            const auto block = intake.next();
            if (!block) {
                return block.failure();
            }
            if (block->frames == 0) {
                return {};
            }
            if (auto taken = take(*block); !taken) {
                return taken;
            }
        }
    }

    Result<void> write(Json& out, std::uint32_t sample_rate_hz) {
        if (needs_.levels) {
            out["levels"] = levels_json(levels_.figures());
        }
        if (!needs_.spectrum) {
            out["peaks"] = Json::array();
            return {};
        }
        const auto spectrum = spectrum_.finish();
        if (!spectrum) {
            return spectrum.failure();
        }
        const double bin_hz =
            static_cast<double>(sample_rate_hz) / static_cast<double>(spectrum->fft_size);
        if (parameters_.spectral) {
            out["spectral"] = spectral_json(*spectrum, bin_hz, crossings_);
        }
        if (parameters_.spectrum == SpectrumKind::mean) {
            const std::uint64_t needed = spectrum->power.size() * json_bytes_a_bin;
            if (memory_bytes_ > 0 && needed > memory_bytes_) {
                return Failure{
                    .code = Errc::job_too_large, .limit = memory_bytes_, .value = needed};
            }
            out["spectrum"] = spectrum_json(*spectrum, parameters_, bin_hz);
        }
        out["peaks"] = peaks_json(*spectrum, parameters_, bin_hz);
        return {};
    }

  private:
    Result<void> take(const Intake::Block& block) {
        if (needs_.levels) {
            levels_.push(block.interleaved);
        }
        if (needs_.crossings) {
            crossings_.push(block.mono);
        }
        return needs_.spectrum ? spectrum_.push(block.mono) : Result<void>{};
    }

    const AnalyzeParameters& parameters_;
    Needs needs_;
    std::uint64_t memory_bytes_;
    dsp::Levels levels_;
    dsp::ZeroCrossings crossings_;
    dsp::MeanSpectrum spectrum_;
};

}  // namespace

Result<Answer> run_analyze(Tools& tools, const Input& input) {
    const std::uint64_t began_us = now_us();
    const auto parameters = analyze_parameters_of(input.envelope.params);
    if (!parameters) {
        return parameters.failure();
    }
    const auto selection = selection_of(input.envelope.params);
    if (!selection) {
        return selection.failure();
    }
    auto intake = Intake::open(
        input.envelope.audio,
        {*selection, input.request.job.max_audio_ms, input.request.stop_requested}, input.facts);
    if (!intake) {
        return intake.failure();
    }
    Analysis analysis(tools, input.request, *parameters, *intake);
    if (const auto ran = analysis.run(*intake); !ran) {
        return ran.failure();
    }
    auto audio = intake->audio_json();
    if (!audio) {
        return audio.failure();
    }
    Json out = {{"kind", "analyze"}, {"audio", std::move(*audio)}};
    if (const auto written = analysis.write(out, intake->info().sample_rate_hz); !written) {
        return written.failure();
    }
    Answer answer;
    answer.body = out.dump();
    answer.audio = input.facts;
    answer.decoded_frames = intake->decoded_frames();
    answer.times.decode_us = static_cast<std::uint32_t>(intake->decode_us());
    answer.times.compute_us = static_cast<std::uint32_t>(now_us() - began_us - intake->decode_us());
    return answer;
}

}  // namespace sonogate::worker
