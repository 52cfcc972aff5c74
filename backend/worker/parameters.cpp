#include "worker/parameters.hpp"

#include <bit>
#include <charconv>
#include <cmath>

namespace sonogate::worker {

namespace {

constexpr double max_time_s = 1e7;
constexpr std::uint64_t min_fft_size = 256;
constexpr std::uint64_t max_fft_size = 1U << 20U;
constexpr std::uint64_t max_peaks = 256;
constexpr std::uint64_t default_peaks = 48;
constexpr std::uint64_t default_fft_size = 4096;
constexpr std::uint64_t default_hops_a_block = 4;

template <typename T>
std::optional<T> parse_whole(std::string_view text) noexcept {
    T value{};
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stopped != end) {
        return std::nullopt;
    }
    return value;
}

Result<Channel> channel_of(const shm::Params& params) {
    const std::string_view name = params.get(Parameter::channel).value_or("mix");
    if (name == "mix") {
        return Channel::mix;
    }
    if (name == "left") {
        return Channel::left;
    }
    if (name == "right") {
        return Channel::right;
    }
    return invalid(Parameter::channel);
}

Result<void> read_features(const shm::Params& params, AnalyzeParameters& out) {
    const auto list = params.get(Parameter::features);
    if (!list) {
        return {};
    }
    out.levels = out.spectral = false;
    for (std::string_view rest = *list;;) {
        const std::size_t comma = rest.find(',');
        const std::string_view name = rest.substr(0, comma);
        bool* const feature = name == "levels"     ? &out.levels
                              : name == "spectral" ? &out.spectral
                                                   : nullptr;
        if (feature == nullptr || *feature) {
            return invalid(Parameter::features);
        }
        *feature = true;
        if (comma == std::string_view::npos) {
            return {};
        }
        rest.remove_prefix(comma + 1);
    }
}

Result<void> read_block_shape(const shm::Params& params, AnalyzeParameters& out) {
    const auto fft_size = integer_of(params, Parameter::fft_size, 0, max_fft_size);
    if (!fft_size) {
        return fft_size.failure();
    }
    out.fft_size = fft_size->value_or(default_fft_size);
    if (out.fft_size != 0 && (out.fft_size < min_fft_size || !std::has_single_bit(out.fft_size))) {
        return invalid(Parameter::fft_size);
    }
    const auto hop =
        integer_of(params, Parameter::hop, 1, out.fft_size == 0 ? max_fft_size : out.fft_size);
    if (!hop) {
        return hop.failure();
    }
    out.hop = out.fft_size == 0 ? 0 : hop->value_or(out.fft_size / default_hops_a_block);
    const auto window = params.get(Parameter::window);
    const auto kind = dsp::window_of(window.value_or("hann"));
    if (!kind) {
        return invalid(Parameter::window);
    }
    out.window = *kind;
    return {};
}

}  // namespace

Result<std::optional<std::uint64_t>> integer_of(const shm::Params& params, Parameter parameter,
                                                std::uint64_t min, std::uint64_t max) {
    const auto text = params.get(parameter);
    if (!text) {
        return std::optional<std::uint64_t>{};
    }
    const auto value = parse_whole<std::uint64_t>(*text);
    if (!value || *value < min || *value > max) {
        return invalid(parameter);
    }
    return value;
}

Result<std::optional<double>> number_of(const shm::Params& params, Parameter parameter, double min,
                                        double max) {
    const auto text = params.get(parameter);
    if (!text) {
        return std::optional<double>{};
    }
    const auto value = parse_whole<double>(*text);
    if (!value || !std::isfinite(*value) || *value < min || *value > max) {
        return invalid(parameter);
    }
    return value;
}

Result<std::optional<bool>> flag_of(const shm::Params& params, Parameter parameter) {
    const auto text = params.get(parameter);
    if (!text) {
        return std::optional<bool>{};
    }
    if (*text != "true" && *text != "false") {
        return invalid(parameter);
    }
    return std::optional<bool>{*text == "true"};
}

Result<Selection> selection_of(const shm::Params& params) {
    Selection out;
    const auto start_s = number_of(params, Parameter::start_s, 0.0, max_time_s);
    if (!start_s) {
        return start_s.failure();
    }
    const auto duration_s = number_of(params, Parameter::duration_s, 0.0, max_time_s);
    if (!duration_s) {
        return duration_s.failure();
    }
    if (*duration_s && **duration_s <= 0.0) {
        return invalid(Parameter::duration_s);
    }
    const auto channel = channel_of(params);
    if (!channel) {
        return channel.failure();
    }
    out.start_s = start_s->value_or(0.0);
    out.duration_s = *duration_s;
    out.channel = *channel;
    return out;
}

Result<AnalyzeParameters> analyze_parameters_of(const shm::Params& params) {
    AnalyzeParameters out;
    if (const auto shape = read_block_shape(params, out); !shape) {
        return shape.failure();
    }
    const auto peaks = integer_of(params, Parameter::peaks, 0, max_peaks);
    if (!peaks) {
        return peaks.failure();
    }
    out.peaks = static_cast<std::uint32_t>(peaks->value_or(default_peaks));
    const std::string_view spectrum = params.get(Parameter::spectrum).value_or("none");
    if (spectrum != "none" && spectrum != "mean") {
        return invalid(Parameter::spectrum);
    }
    out.spectrum = spectrum == "mean" ? SpectrumKind::mean : SpectrumKind::none;
    if (const auto features = read_features(params, out); !features) {
        return features.failure();
    }
    return out;
}

}  // namespace sonogate::worker
