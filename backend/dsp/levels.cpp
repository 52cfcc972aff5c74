#include "dsp/levels.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "dsp/vectorise.hpp"

namespace sonogate::dsp {

namespace {

constexpr std::size_t lanes = 16;
constexpr std::size_t max_piece = 2048;  // summed in single precision before doubles take over

struct Piece {
    float sum[lanes] = {};
    float squares[lanes] = {};
    float peak[lanes] = {};
    std::int32_t clipped[lanes] = {};
};

// Lane by lane, in the form that compilers vectorise. A lane adds at most 128 numbers, so that
// rounding stays far below 1e-5 of the sum. `n` is a multiple of the lanes.
SONOGATE_VECTORISE void measure_lanes(const float* x, std::size_t n, Piece& out) noexcept {
    Piece piece = out;
    for (std::size_t i = 0; i < n; i += lanes) {
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            const float sample = x[i + lane];
            const float magnitude = sample < 0.0F ? -sample : sample;
            piece.sum[lane] += sample;
            piece.squares[lane] += sample * sample;
            piece.peak[lane] = magnitude > piece.peak[lane] ? magnitude : piece.peak[lane];
            piece.clipped[lane] += magnitude >= Levels::clip_level ? 1 : 0;
        }
    }
    out = piece;
}

SONOGATE_VECTORISE std::uint32_t count_crossings(const float* x, std::size_t n) noexcept {
    std::uint32_t count = 0;
    for (std::size_t i = 1; i < n; ++i) {
        count +=
            (std::bit_cast<std::uint32_t>(x[i]) ^ std::bit_cast<std::uint32_t>(x[i - 1])) >> 31U;
    }
    return count;
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
    const std::size_t whole = samples.size() / lanes * lanes;
    Piece piece;
    measure_lanes(samples.data(), whole, piece);
    std::array<float, lanes> rest{};  // the last lanes, filled up with zeros, which change nothing
    std::copy(samples.begin() + static_cast<std::ptrdiff_t>(whole), samples.end(), rest.begin());
    measure_lanes(rest.data(), lanes, piece);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        segment_.sum += static_cast<double>(piece.sum[lane]);
        segment_.squares += static_cast<double>(piece.squares[lane]);
        peak_ = std::max(peak_, piece.peak[lane]);
        clipped_samples_ += static_cast<std::uint64_t>(piece.clipped[lane]);
    }
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
    count_ += samples_ > 0 && std::signbit(samples.front()) != std::signbit(last_) ? 1U : 0U;
    count_ += count_crossings(samples.data(), samples.size());
    samples_ += samples.size();
    last_ = samples.back();
}

}  // namespace sonogate::dsp
