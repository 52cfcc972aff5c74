// Real-to-complex FFT in single precision (FFTW3), plans made once a size and kept.
//
// For: every transform of the backend. Not for: inverse transforms. FFTW's planner is guarded by
// one lock a process; a RealFft itself belongs to one thread at a time.
#pragma once

#include <complex>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace sonogate::dsp {

// X[k] = Σ_i x[i] exp(−2πjki/n), k = 0 … n/2.
class RealFft {
  public:
    enum class Effort {
        estimate,
        measure
    };  // measure times algorithms once: for sizes that are used again

    // n ≥ 1. Throws std::bad_alloc. Memory: n floats and n/2+1 complex numbers, beside FFTW's own
    // tables.
    explicit RealFft(std::size_t n, Effort effort = Effort::measure);
    ~RealFft();
    RealFft(const RealFft&) = delete;
    RealFft& operator=(const RealFft&) = delete;

    std::size_t size() const noexcept { return n_; }
    std::size_t bins() const noexcept { return n_ / 2 + 1; }

    std::span<float> input() noexcept {
        return {input_, n_};
    }  // aligned; keeps its contents over run()
    std::span<const std::complex<float>> output() const noexcept { return {output_, bins()}; }
    void run() noexcept;

  private:
    std::size_t n_;
    float* input_ = nullptr;
    std::complex<float>* output_ = nullptr;
    void* plan_ = nullptr;
};

// Plans by size, kept for the life of the process up to a bound of memory; larger ones are made for
// one use.
class FftPlans {
  public:
    // Any n ≥ 1; borrowed until the next call. Sizes above 65536 are planned by estimate.
    RealFft& get(std::size_t n);

  private:
    std::map<std::size_t, std::unique_ptr<RealFft>> kept_;
    std::unique_ptr<RealFft> large_;
};

// FFTW's wisdom as text, so that a parent can plan once and its children need not. False where the
// text is not wisdom.
std::string export_wisdom();
bool import_wisdom(const std::string& wisdom);

}  // namespace sonogate::dsp
