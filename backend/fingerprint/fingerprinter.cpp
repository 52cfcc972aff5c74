// What is fingerprinted, and why it survives.
//
// Problem: tell which recording a few seconds of audio come from, after a telephone, a codec, a
// loudspeaker in a noisy bar, and where in the recording they lie.
//
// Idea (A. Wang, "An industrial-strength audio search algorithm", ISMIR 2003): noise and filters
// change almost every number of a spectrogram, but hardly move its loudest points. Keep only the
// points, and compare where they stand to one another: pairs of them (landmarks.hpp) make keys
// that are rare enough to look up, and a clip's true place is the one offset at which many keys
// agree. Here the keys only nominate; the verdict counts points that coincide (score.hpp).
//
// Chain: 8 kHz mono ▶ Columns: 1024-point Hann blocks every 128 samples, log2 power ▶ LocalMaxima:
// largest of 21 bins × 15 columns above 195 Hz, refined by parabolas in both directions, ranked by
// level over the neighbourhood's mean plus 0.3 × level over the bin's slow mean ▶ Strongest: 30 a
// second of what is enrolled, 60 a second of what is asked, because a degraded clip may rank a
// true peak lower. No absolute threshold: only ranks count, so level does not matter.
//
// Choices that differ from the paper: salience against the slow mean of the bin lets a new note
// win over a hum; ranks in a sliding second instead of a decaying mask make the choice independent
// of where the clip was cut (audfprint, D. Ellis 2014, prunes in a way that depends on it).
//
// Cost: per column one FFT, five passes of maxima over 512 floats, one exponential mean, and some
// twenty candidates that look at up to 14 other columns and mostly stop at the first.
#include "fingerprint/fingerprinter.hpp"

#include <algorithm>
#include <limits>

namespace sonogate::fingerprint {
namespace {

constexpr float db_per_log2_power = 3.0103F;

}  // namespace

Fingerprinter::Fingerprinter(dsp::RealFft& fft, Density density)
    : columns_(fft), maxima_(reach_of(density)), strongest_(peaks_per_second(density)) {
    result_.density = density;
}

void Fingerprinter::push(std::span<const float> samples) {
    samples_ += samples.size();
    while (columns_.next(samples)) {
        maxima_.push(columns_.column(), found_);
        select();
    }
}

Fingerprint Fingerprinter::finish() {
    maxima_.finish(found_);
    select();
    strongest_.finish(result_.peaks);
    std::sort(result_.peaks.begin(), result_.peaks.end());  // refinement may have swapped two
    result_.duration_ms = static_cast<std::uint32_t>(std::min<std::uint64_t>(
        samples_ * 1000 / sample_rate_hz, std::numeric_limits<std::uint32_t>::max()));
    result_.loudest_dbfs = (maxima_.loudest_log2() - full_scale_log2) * db_per_log2_power;
    return std::move(result_);
}

void Fingerprinter::select() {
    for (const Maximum& m : found_) {
        strongest_.push(m, result_.peaks);
    }
    found_.clear();
}

}  // namespace sonogate::fingerprint
