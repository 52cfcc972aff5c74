#include "dsp/levels.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sonogate::dsp {

namespace {

constexpr std::size_t lanes = 8;
constexpr std::size_t max_piece = 2048;  // summed in single precision before doubles take over

// Eight at a time in the form that compilers vectorise. A lane adds at most 256 numbers, so that
// rounding stays far below 1e-5 of the sum.
struct Piece {
    double sum = 0.0;
    double squares = 0.0;
    float peak = 0.0F;
    std::uint64_t clipped = 0;
};

using Lane = float __attribute__((vector_size(lanes * sizeof(float))));
using LaneCount = std::int32_t __attribute__((vector_size(lanes * sizeof(std::int32_t))));

Piece measure_piece(std::span<const float> samples) noexcept {
    Lane sum{};
    Lane squares{};
    Lane peak{};
    LaneCount clipped{};
    std::size_t i = 0;
    for (; i + lanes <= samples.size(); i += lanes) {
        Lane x;
        __builtin_memcpy(&x, samples.data() + i, sizeof(x));
        const Lane magnitude = x < 0.0F ? -x : x;
        sum += x;
        squares += x * x;
        peak = magnitude > peak ? magnitude : peak;
        clipped -= magnitude >= Levels::clip_level;  // true is −1
    }
    Piece out;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        out.sum += static_cast<double>(sum[lane]);
        out.squares += static_cast<double>(squares[lane]);
        out.peak = std::max(out.peak, peak[lane]);
        out.clipped += static_cast<std::uint64_t>(clipped[lane]);
    }
    for (; i < samples.size(); ++i) {
        const float x = samples[i];
        out.sum += static_cast<double>(x);
        out.squares += static_cast<double>(x) * static_cast<double>(x);
        out.peak = std::max(out.peak, std::abs(x));
        out.clipped += std::abs(x) >= Levels::clip_level ? 1U : 0U;
    }
    return out;
}

}  // namespace

double decibels(double amplitude) noexcept {
    return amplitude > 0.0 ? std::max(floor_db, 20.0 * std::log10(amplitude)) : floor_db;
}

double power_decibels(double power) noexcept {
    return power > 0.0 ? std::max(floor_db, 10.0 * std::log10(power)) : floor_db;
}

Levels::Levels(std::uint32_t sample_rate_hz, std::uint32_t channels) noexcept
    : segment_samples_(channels * static_cast<std::uint64_t>(
                                      std::max(1.0, std::round(segment_s * sample_rate_hz)))) {}

// Pieces end where segments do, and every max_piece samples of a segment, so that a sum is the same
// in any chunking.
void Levels::push(std::span<const float> interleaved) noexcept {
    while (!interleaved.empty()) {
        const std::uint64_t to_segment_end = segment_samples_ - in_segment_;
        const std::uint64_t to_piece_end = max_piece - in_segment_ % max_piece;
        const std::size_t size = static_cast<std::size_t>(
            std::min<std::uint64_t>({interleaved.size(), to_segment_end, to_piece_end}));
        measure(interleaved.first(size));
        interleaved = interleaved.subspan(size);
    }
}

void Levels::measure(std::span<const float> samples) noexcept {
    const Piece piece = measure_piece(samples);
    segment_.sum += piece.sum;
    segment_.squares += piece.squares;
    peak_ = std::max(peak_, piece.peak);
    clipped_samples_ += piece.clipped;
    samples_ += samples.size();
    in_segment_ += samples.size();
    if (in_segment_ == segment_samples_) {
        end_segment();
    }
}

void Levels::end_segment() noexcept {
    if (segment_.squares < silence_power * static_cast<double>(in_segment_)) {
        silent_samples_ += in_segment_;
    }
    total_.sum += segment_.sum;
    total_.squares += segment_.squares;
    segment_ = {};
    in_segment_ = 0;
}

LevelFigures Levels::figures() const noexcept {
    Levels whole = *this;
    if (whole.in_segment_ > 0) {
        whole.end_segment();
    }
    LevelFigures out;
    if (whole.samples_ == 0) {
        return out;
    }
    const auto samples = static_cast<double>(whole.samples_);
    out.peak_dbfs = decibels(static_cast<double>(whole.peak_));
    out.rms_dbfs = power_decibels(whole.total_.squares / samples);
    out.crest_db = std::max(0.0, out.peak_dbfs - out.rms_dbfs);
    out.dc_offset = whole.total_.sum / samples;
    out.clipped_samples = whole.clipped_samples_;
    out.silence_ratio = static_cast<double>(whole.silent_samples_) / samples;
    return out;
}

void ZeroCrossings::push(std::span<const float> samples) noexcept {
    if (samples.empty()) {
        return;
    }
    const auto sign = [](float x) { return std::bit_cast<std::uint32_t>(x) >> 31U; };
    std::uint32_t count = samples_ > 0 ? sign(samples.front()) ^ sign(last_) : 0U;
    for (std::size_t i = 1; i < samples.size(); ++i) {
        count += sign(samples[i]) ^ sign(samples[i - 1]);
    }
    count_ += count;
    samples_ += samples.size();
    last_ = samples.back();
}

}  // namespace sonogate::dsp
