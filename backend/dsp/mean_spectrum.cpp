#include "dsp/mean_spectrum.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "dsp/vectorise.hpp"
#include "dsp/window_spectrum.hpp"

namespace sonogate::dsp {

namespace {

constexpr std::uint64_t max_fft_samples = std::numeric_limits<int>::max();  // FFTW counts in int

SONOGATE_VECTORISE void multiply(const float* a, const float* b, float* out,
                                 std::size_t n) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
        out[i] = a[i] * b[i];
    }
}

// sums[k] += re² + im², the parts of a complex number side by side.
SONOGATE_VECTORISE void add_squares(const float* parts, double* sums, std::size_t n) noexcept {
    for (std::size_t k = 0; k < n; ++k) {
        const double re = parts[2 * k];
        const double im = parts[2 * k + 1];
        sums[k] += re * re + im * im;
    }
}

}  // namespace

std::size_t good_fft_size(std::size_t n) noexcept {
    std::size_t best = std::bit_ceil(std::max<std::size_t>(n, 2));
    for (std::size_t sevens = 2; sevens < best; sevens *= 7) {
        for (std::size_t fives = sevens; fives < best; fives *= 5) {
            for (std::size_t threes = fives; threes < best; threes *= 3) {
                std::size_t size = threes;
                while (size < n) {
                    size *= 2;
                }
                best = std::min(best, size);
            }
        }
    }
    return best;
}

MeanSpectrum::MeanSpectrum(FftPlans& plans, const BlockShape& shape, std::uint64_t memory_bytes,
                           std::function<bool()> stop_requested)
    : plans_(plans),
      shape_(shape),
      memory_bytes_(memory_bytes),
      stop_requested_(std::move(stop_requested)) {}

Result<void> MeanSpectrum::expect(std::uint64_t samples) const {
    const std::uint64_t block = shape_.fft_size == 0 ? samples : shape_.fft_size;
    const std::uint64_t needed = block * bytes_a_sample;
    if (block > max_fft_samples / 2 || (memory_bytes_ > 0 && needed > memory_bytes_)) {
        return Failure{.code = Errc::job_too_large, .limit = memory_bytes_, .value = needed};
    }
    return {};
}

void MeanSpectrum::run_block(std::span<const float> samples) {
    if (fft_ == nullptr) {
        fft_ = &plans_.get(shape_.fft_size == 0 ? good_fft_size(samples.size()) : shape_.fft_size);
        window_ = make_window(shape_.window, samples.size());
        power_.assign(fft_->bins(), 0.0);
    }
    const std::span<float> input = fft_->input();
    multiply(samples.data(), window_.data(), input.data(), samples.size());
    std::fill(input.begin() + static_cast<std::ptrdiff_t>(samples.size()), input.end(), 0.0F);
    fft_->run();
    add_squares(reinterpret_cast<const float*>(fft_->output().data()), power_.data(),
                power_.size());
    ++blocks_;
}

// Transforms every whole block in pending_ and drops what no later block needs.
Result<void> MeanSpectrum::run_blocks() {
    std::size_t at = 0;
    while (pending_.size() - at >= shape_.fft_size) {
        if (stopped()) {
            return Errc::cancelled;
        }
        run_block(std::span(pending_).subspan(at, shape_.fft_size));
        at += shape_.hop;
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(at));
    return {};
}

Result<void> MeanSpectrum::push(std::span<const float> samples) {
    if (shape_.fft_size == 0) {
        if (const auto fits = expect(pending_.size() + samples.size()); !fits) {
            return fits;
        }
    }
    pending_.insert(pending_.end(), samples.begin(), samples.end());
    return shape_.fft_size == 0 || pending_.size() < shape_.fft_size ? Result<void>{}
                                                                     : run_blocks();
}

Result<Spectrum> MeanSpectrum::finish() {
    if (blocks_ == 0) {
        if (pending_.empty()) {
            return Errc::too_short;
        }
        if (stopped()) {
            return Errc::cancelled;
        }
        run_block(pending_);
    }
    pending_ = {};
    Spectrum out;
    out.fft_size = fft_->size();
    out.window_length = window_.size();
    out.window = shape_.window;
    out.blocks = blocks_;
    const double half_sum = WindowSpectrum(shape_.window, window_.size()).sum() / 2.0;
    const double scale =
        half_sum > 0.0 ? 1.0 / (half_sum * half_sum * static_cast<double>(blocks_)) : 0.0;
    for (double& power : power_) {
        power *= scale;
    }
    out.power = std::move(power_);
    if (blocks_ == 1) {
        out.single = fft_->output();
    }
    return out;
}

}  // namespace sonogate::dsp
