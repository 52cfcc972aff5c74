#include "dsp/fft.hpp"

#include <fftw3.h>

#include <bit>
#include <mutex>
#include <new>

#include "base/heap.hpp"

namespace sonogate::dsp {

namespace {

constexpr std::size_t max_kept_samples = 1U << 20U;
// FFTW aborts where it is given no memory, so it is asked for before. Its tables were 7.4 bytes a
// sample at the most, over 208 sizes that good_fft_size() gives, up to 20 million; 250 KB more
// where they are small. The rest is for the allocator, which takes blocks of 2 MiB for its own use.
constexpr std::size_t most_table_bytes_a_sample = 8;
constexpr std::size_t more_table_bytes = 3U << 20U;

std::mutex& planner() {
    static std::mutex mutex;
    return mutex;
}

fftwf_plan as_plan(void* plan) noexcept {
    return static_cast<fftwf_plan>(plan);
}

}  // namespace

RealFft::RealFft(std::size_t n, Effort effort) : n_(n) {
    const std::lock_guard lock(planner());
    input_ = fftwf_alloc_real(n);
    fftwf_complex* const output = fftwf_alloc_complex(bins());
    output_ = reinterpret_cast<std::complex<float>*>(output);  // FFTW promises the same layout
    if (input_ != nullptr && output != nullptr &&
        could_allocate(n * most_table_bytes_a_sample + more_table_bytes)) {
        const unsigned flags = effort == Effort::measure ? FFTW_MEASURE : FFTW_ESTIMATE;
        plan_ =
            fftwf_plan_dft_r2c_1d(static_cast<int>(n), input_, output, flags | FFTW_PRESERVE_INPUT);
    }
    if (plan_ == nullptr) {
        fftwf_free(input_);
        fftwf_free(output);
        throw std::bad_alloc();
    }
}

RealFft::~RealFft() {
    const std::lock_guard lock(planner());
    fftwf_destroy_plan(as_plan(plan_));
    fftwf_free(output_);
    fftwf_free(input_);
}

void RealFft::run() noexcept {
    fftwf_execute(as_plan(plan_));
}

RealFft& FftPlans::get(std::size_t n) {
    large_.reset();
    if (const auto found = kept_.find(n); found != kept_.end()) {
        return *found->second;
    }
    const bool common = std::has_single_bit(n);
    const auto effort =
        common && n <= max_measured_samples ? RealFft::Effort::measure : RealFft::Effort::estimate;
    auto made = std::make_unique<RealFft>(n, effort);
    RealFft& out = *made;
    if (common && n <= max_kept_samples) {
        kept_.emplace(n, std::move(made));
    } else {
        large_ = std::move(made);
    }
    return out;
}

std::string export_wisdom() {
    const std::lock_guard lock(planner());
    char* const text = fftwf_export_wisdom_to_string();
    std::string out = text == nullptr ? "" : text;
    fftwf_free(text);
    return out;
}

bool import_wisdom(const std::string& wisdom) {
    const std::lock_guard lock(planner());
    return fftwf_import_wisdom_from_string(wisdom.c_str()) == 1;
}

}  // namespace sonogate::dsp
