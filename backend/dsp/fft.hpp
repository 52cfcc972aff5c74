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
    // tables: what they may take is asked for before, but of an n with a large prime factor they
    // take more, and FFTW ends the process where there is none.
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

// Powers of two up to here are planned by measuring, and their wisdom is worth keeping. Any other
// size is planned by estimate: to measure a second of audio (44,100) takes 1.5 s and saves 2 µs a
// transform, and what one process measures another may find different, and round differently.
inline constexpr std::size_t max_measured_samples = 16384;

// Plans by size; those of powers of two are kept for the life of the process up to a bound of
// memory, all others are made for one use.
class FftPlans {
  public:
    // Any n ≥ 1; borrowed until the next call.
    RealFft& get(std::size_t n);

    // Ends the last use, and frees what was made for it alone.
    void end_use() noexcept { large_.reset(); }

  private:
    std::map<std::size_t, std::unique_ptr<RealFft>> kept_;
    std::unique_ptr<RealFft> large_;
};

// FFTW's wisdom as text, so that a parent can plan once and its children need not. False where the
// text is not wisdom.
std::string export_wisdom();
bool import_wisdom(const std::string& wisdom);

}  // namespace sonogate::dsp
