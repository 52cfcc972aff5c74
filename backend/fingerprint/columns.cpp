#include "fingerprint/columns.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdint>
#include <cstring>

#include "dsp/window.hpp"

namespace sonogate::fingerprint {
namespace {

// log2 of a positive, normal number to 2e-5: the exponent, and a minimax polynomial over the
// mantissa that is exact at 1 and 2, so that the curve has no steps. Branch-free: compilers
// vectorise it.
inline float fast_log2(float x) noexcept {
    const auto bits = std::bit_cast<std::int32_t>(x);
    const auto exponent = static_cast<float>((bits >> 23) - 127);
    const float m = std::bit_cast<float>((bits & 0x007fffff) | 0x3f800000) - 1.0F;
    const float p =
        ((((0.0451533539F * m - 0.193587111F) * m + 0.415616216F) * m - 0.709098843F) * m +
         1.44191738F) *
        m;
    return exponent + p;
}

}  // namespace

Columns::Columns(dsp::RealFft& fft)
    : fft_(fft), window_(dsp::make_window(dsp::WindowKind::hann, block_frames)) {
    assert(fft.size() == block_frames);
}

bool Columns::next(std::span<const float>& samples) noexcept {
    const std::size_t wanted = std::min(samples.size(), block_frames - filled_);
    std::copy_n(samples.begin(), wanted, block_.begin() + static_cast<std::ptrdiff_t>(filled_));
    samples = samples.subspan(wanted);
    filled_ += wanted;
    if (filled_ < block_frames) {
        return false;
    }
    transform();
    std::memmove(block_.data(), block_.data() + hop_frames,
                 (block_frames - hop_frames) * sizeof(float));
    filled_ = block_frames - hop_frames;
    return true;
}

void Columns::transform() noexcept {
    float* const in = fft_.input().data();
    const float* const window = window_.data();
    for (std::size_t i = 0; i < block_frames; ++i) {
        in[i] = block_[i] * window[i];
    }
    fft_.run();
    // std::complex<float> is two floats, by the standard.
    const auto* const x = reinterpret_cast<const float*>(fft_.output().data());
    constexpr float power_floor = 1.0F / (1ULL << 40U);
    for (std::size_t i = 0; i < row_bins; ++i) {
        column_[i] = fast_log2(x[2 * i] * x[2 * i] + x[2 * i + 1] * x[2 * i + 1] + power_floor);
    }
}

}  // namespace sonogate::fingerprint
