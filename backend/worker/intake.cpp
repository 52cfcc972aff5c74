#include "worker/intake.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "dsp/vectorise.hpp"
#include "worker/sha256.hpp"

namespace sonogate::worker {

namespace {

constexpr std::size_t max_block_frames = 8192;
constexpr std::size_t block_samples = 32768;  // bounds the block of many channels
constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();

std::uint64_t frames_in(double seconds, std::uint32_t rate_hz) noexcept {
    return static_cast<std::uint64_t>(
        std::llround(seconds * rate_hz));  // at most 1e7 s × 2^31 Hz: fits
}

double seconds_of(std::uint64_t frames, std::uint32_t rate_hz) noexcept {
    return static_cast<double>(frames) / rate_hz;
}

std::uint64_t ms_of(std::uint64_t frames, std::uint32_t rate_hz) noexcept {
    return frames / rate_hz * 1000U + frames % rate_hz * 1000U / rate_hz;
}

// NaN, infinite and absurdly large samples, whose squares would not be finite. As numbers,
// magnitudes sort as floats do.
constexpr std::uint32_t magnitude_bits = 0x7FFFFFFFU;
constexpr std::uint32_t absurd_bits = std::bit_cast<std::uint32_t>(0x1p40F);

SONOGATE_VECTORISE std::uint32_t count_absurd(const float* samples, std::size_t n) noexcept {
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < n; ++i) {
        count +=
            (std::bit_cast<std::uint32_t>(samples[i]) & magnitude_bits) >= absurd_bits ? 1U : 0U;
    }
    return count;
}

// Sets them to 0; returns how many there were. Two passes, so that the usual one only counts.
std::uint64_t sanitise(std::span<float> samples) noexcept {
    const std::uint32_t count = count_absurd(samples.data(), samples.size());
    if (count > 0) {
        for (float& sample : samples) {
            const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(sample) & magnitude_bits;
            sample = magnitude >= absurd_bits ? 0.0F : sample;
        }
    }
    return count;
}

bool is_let_in(shm::AudioFormat format, const shm::AudioLimits& limits) noexcept {
    return limits.formats == 0 || (limits.formats >> static_cast<unsigned>(format) & 1U) != 0;
}

// Halves first: two huge samples stay finite.
SONOGATE_VECTORISE void mix_pairs(const float* in, float* out, std::size_t frames) noexcept {
    for (std::size_t i = 0; i < frames; ++i) {
        out[i] = 0.5F * in[2 * i] + 0.5F * in[2 * i + 1];
    }
}

}  // namespace

Intake::Intake(Bytes file, IntakeOptions options, std::unique_ptr<audio::Decoder> decoder,
               shm::AudioFacts& facts)
    : file_(file), options_(std::move(options)), decoder_(std::move(decoder)), facts_(&facts) {
    const audio::StreamInfo& info = decoder_->info();
    start_frame_ = frames_in(options_.selection.start_s, info.sample_rate_hz);
    const auto duration_s = options_.selection.duration_s;
    end_frame_ = duration_s ? start_frame_ + std::max<std::uint64_t>(
                                                 1, frames_in(*duration_s, info.sample_rate_hz))
                            : no_end;
    block_frames_ = std::clamp<std::size_t>(block_samples / info.channels, 1, max_block_frames);
    interleaved_.resize(block_frames_ * info.channels);
    if (info.channels > 1) {
        mono_.resize(block_frames_);
    }
}

Result<Intake> Intake::open(Bytes file, const IntakeOptions& options, shm::AudioFacts& facts) {
    const audio::Sniffed sniffed = audio::sniff(file);
    facts.format = sniffed.format;
    if (!is_let_in(facts.format, options.limits)) {
        return Errc::unsupported_format;
    }
    auto decoder = audio::open_decoder(file, sniffed);
    if (!decoder) {
        return decoder.failure();
    }
    const audio::StreamInfo& info = (*decoder)->info();
    facts.channels = static_cast<std::uint16_t>(info.channels);
    facts.sample_rate_hz = info.sample_rate_hz;
    Intake intake(file, options, std::move(*decoder), facts);
    if (const auto checked = intake.check_header(); !checked) {
        return checked.failure();
    }
    return intake;
}

// What can be said before anything is decoded.
Result<void> Intake::check_header() {
    const std::uint32_t most_channels = options_.limits.max_channels;
    if (most_channels != 0 && info().channels > most_channels) {
        return Failure{
            .code = Errc::job_too_large, .limit = most_channels, .value = info().channels};
    }
    if (!info().frames) {
        return {};
    }
    facts_->duration_ms = ms_of(*info().frames, info().sample_rate_hz);
    if (auto checked = check_length(*info().frames); !checked) {
        return checked;
    }
    const std::uint64_t decoded = std::min(end_frame_, *info().frames);  // skipped ones too
    const std::uint64_t samples = std::min(decoded, no_end / info().channels) * info().channels;
    const bool goes_on = !options_.expect || options_.expect(facts_->format, samples);
    return goes_on ? Result<void>{} : Errc::cancelled;
}

// Decoded bytes are a length too, given rate and channels: the lesser of the two bounds.
std::uint64_t Intake::max_ms() const noexcept {
    const std::uint64_t by_time = options_.limits.max_audio_ms;
    const std::uint64_t by_bytes =
        ms_of(options_.limits.max_decoded_bytes / (sizeof(float) * info().channels),
              info().sample_rate_hz);
    if (options_.limits.max_decoded_bytes == 0 || by_time == 0) {
        return std::max(by_time, by_bytes);
    }
    return std::min(by_time, by_bytes);
}

Result<void> Intake::check_length(std::uint64_t frames) const {
    const bool bounded =
        options_.limits.max_audio_ms != 0 || options_.limits.max_decoded_bytes != 0;
    const std::uint64_t length_ms = ms_of(frames, info().sample_rate_hz);
    if (bounded && length_ms > max_ms()) {
        return Failure{.code = Errc::audio_too_long, .limit = max_ms(), .value = length_ms};
    }
    return {};
}

// A header may promise more than there is, so what lies behind the selection is decoded as far as
// it takes.
Result<void> Intake::check_minimum() {
    const std::uint64_t least_ms = options_.limits.min_audio_ms;
    while (!ended_ && ms_of(decoded_frames_, info().sample_rate_hz) < least_ms) {
        if (const auto got = read_block(block_frames_); !got) {
            return got.failure();
        }
    }
    const std::uint64_t length_ms = ms_of(decoded_frames_, info().sample_rate_hz);
    if (length_ms < least_ms) {
        return Failure{.code = Errc::too_short, .limit = least_ms, .value = length_ms};
    }
    return {};
}

std::uint64_t Intake::file_frames() const noexcept {
    return ended_ ? decoded_frames_ : std::max(decoded_frames_, info().frames.value_or(0));
}

std::optional<std::uint64_t> Intake::expected_frames() const noexcept {
    if (!info().frames) {
        return std::nullopt;
    }
    const std::uint64_t end = std::min(end_frame_, *info().frames);
    return end > start_frame_ ? end - start_frame_ : 0U;
}

// Decodes up to `frames` into the front of interleaved_.
Result<std::size_t> Intake::read_block(std::size_t frames) {
    if (options_.stop_requested && options_.stop_requested()) {
        return Errc::cancelled;
    }
    const std::uint64_t began_ns = now_ns();
    auto got = decoder_->read(std::span(interleaved_).first(frames * info().channels));
    decode_ns_ += now_ns() - began_ns;
    if (!got) {
        return got;
    }
    ended_ = *got == 0;
    decoded_frames_ += *got;
    facts_->duration_ms = ms_of(file_frames(), info().sample_rate_hz);
    if (const auto checked = check_length(decoded_frames_); !checked) {
        return checked.failure();
    }
    return got;
}

Result<void> Intake::skip_to_start() {
    while (!ended_ && decoded_frames_ < start_frame_) {
        const std::uint64_t left = start_frame_ - decoded_frames_;
        const auto got =
            read_block(static_cast<std::size_t>(std::min<std::uint64_t>(left, block_frames_)));
        if (!got) {
            return got.failure();
        }
    }
    return {};
}

Result<Intake::Block> Intake::next() {
    if (decoded_frames_ < start_frame_) {
        if (const auto skipped = skip_to_start(); !skipped) {
            return skipped.failure();
        }
    }
    const std::uint64_t left = end_frame_ - std::min(end_frame_, decoded_frames_);
    std::size_t frames = 0;
    if (!ended_ && left > 0) {
        const auto got =
            read_block(static_cast<std::size_t>(std::min<std::uint64_t>(left, block_frames_)));
        if (!got) {
            return got.failure();
        }
        frames = *got;
    }
    if (frames == 0) {
        if (const auto enough = check_minimum(); !enough) {
            return enough.failure();
        }
        return selected_frames_ > 0 ? Result<Block>(Block{}) : Result<Block>(Errc::too_short);
    }
    selected_frames_ += frames;
    const std::span<float> interleaved = std::span(interleaved_).first(frames * info().channels);
    nonfinite_samples_ += sanitise(interleaved);
    mix(frames);
    const std::span<const float> mono = info().channels == 1
                                            ? std::span<const float>(interleaved)
                                            : std::span<const float>(mono_).first(frames);
    return Block{frames, interleaved, mono};
}

void Intake::mix(std::size_t frames) {
    const std::size_t channels = info().channels;
    if (channels == 1) {
        return;
    }
    const float* const in = interleaved_.data();
    float* const out = mono_.data();
    if (options_.selection.channel != Channel::mix) {
        const std::size_t channel = options_.selection.channel == Channel::right ? 1 : 0;
        for (std::size_t i = 0; i < frames; ++i) {
            out[i] = in[i * channels + channel];
        }
    } else if (channels == 2) {
        mix_pairs(in, out, frames);
    } else {
        for (std::size_t i = 0; i < frames; ++i) {
            double sum = 0.0;
            for (std::size_t c = 0; c < channels; ++c) {
                sum += static_cast<double>(in[i * channels + c]);
            }
            out[i] = static_cast<float>(sum / static_cast<double>(channels));
        }
    }
}

Result<std::string> Intake::sha256() {
    if (sha256_.empty()) {
        auto hex = sha256_hex(file_, options_.stop_requested);
        if (!hex) {
            return hex;
        }
        sha256_ = *hex;
    }
    return sha256_;
}

Result<nlohmann::ordered_json> Intake::audio_json() {
    const auto digest = sha256();
    if (!digest) {
        return digest.failure();
    }
    nlohmann::ordered_json out = {
        {"format", info().format_name},
        {"codec", info().codec},
        {"sample_rate_hz", info().sample_rate_hz},
        {"channels", info().channels},
        {"duration_s", seconds_of(file_frames(), info().sample_rate_hz)},
        {"frames", file_frames()},
        {"sha256", *digest},
    };
    if (decoder_->truncated()) {
        out["truncated"] = true;
    }
    if (nonfinite_samples_ > 0) {
        out["nonfinite_samples"] = nonfinite_samples_;
    }
    if (!options_.selection.whole()) {
        out["selection"] = {{"start_s", seconds_of(start_frame_, info().sample_rate_hz)},
                            {"duration_s", seconds_of(selected_frames_, info().sample_rate_hz)}};
    }
    return out;
}

Result<Intake> open_intake(const Input& input) {
    const auto selection = selection_of(input.envelope.params);
    if (!selection) {
        return selection.failure();
    }
    return Intake::open(
        input.envelope.audio,
        {*selection, input.request.job.limits, input.request.stop_requested, input.request.expect},
        input.facts);
}

}  // namespace sonogate::worker
