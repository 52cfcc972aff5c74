// analyze: levels, spectral shape, mean spectrum and sinusoids of an upload, in one pass over its
// blocks.
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

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

constexpr std::size_t text_bytes_a_bin = 8;  // "-200.00,"

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

// The mean spectrum as the last member of `object`. As text: half a million numbers in a tree take
// four times the memory, and such a tree's destructor allocates, which ends a process whose memory
// has run out.
void append_spectrum(std::string& object, const dsp::Spectrum& spectrum,
                     const AnalyzeParameters& parameters, double bin_hz) {
    const Json head = {{"fft_size", spectrum.fft_size},
                       {"hop", parameters.fft_size == 0 ? spectrum.fft_size : parameters.hop},
                       {"window", dsp::name_of(parameters.window)},
                       {"resolution_hz", bin_hz}};
    object.reserve(object.size() + 256 + spectrum.power.size() * text_bytes_a_bin);
    object.pop_back();
    object.append(",\"spectrum\":").append(head.dump());
    object.pop_back();
    object.append(",\"mean_db\":");
    char before = '[';
    for (const double power : spectrum.power) {
        std::array<char, 32> digits{};
        const double decibels = rounded(dsp::power_decibels(power), 1e-2);
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), decibels,
                                       std::chars_format::fixed, 2);
        object.push_back(before);
        object.append(digits.data(), end.ptr);
        before = ',';
    }
    object.append("]}}");
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
          levels_(intake.info().sample_rate_hz, intake.info().channels),
          spectrum_(tools.ffts, {parameters.fft_size, parameters.hop, parameters.window},
                    request.job.job_memory_bytes, request.stop_requested) {}

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

    // Completes `out` and gives its text.
    Result<std::string> write(Json& out, std::uint32_t sample_rate_hz) {
        if (needs_.levels) {
            out["levels"] = levels_json(levels_.figures());
        }
        if (!needs_.spectrum) {
            out["peaks"] = Json::array();
            return out.dump();
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
        out["peaks"] = peaks_json(*spectrum, parameters_, bin_hz);
        std::string text = out.dump();
        if (parameters_.spectrum == SpectrumKind::mean) {
            append_spectrum(text, *spectrum, parameters_, bin_hz);
        }
        return text;
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
    auto intake = open_intake(input);
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
    auto text = analysis.write(out, intake->info().sample_rate_hz);
    if (!text) {
        return text.failure();
    }
    Answer answer;
    answer.body = std::move(*text);
    answer.audio = input.facts;
    answer.decoded_frames = intake->decoded_frames();
    answer.times.decode_us = static_cast<std::uint32_t>(intake->decode_us());
    answer.times.compute_us = static_cast<std::uint32_t>(now_us() - began_us - intake->decode_us());
    return answer;
}

}  // namespace sonogate::worker
