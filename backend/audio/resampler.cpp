#include "audio/resampler.hpp"

#include <soxr.h>

#include <algorithm>

namespace sonogate::audio {

namespace {

constexpr std::size_t chunk_samples = 8192;

struct DeleteSoxr {
    void operator()(soxr_t soxr) const noexcept { soxr_delete(soxr); }
};

}  // namespace

struct Resampler::Impl {
    std::unique_ptr<soxr, DeleteSoxr> filter;  // null where the rates are equal
    double ratio = 1.0;                        // out / in

    // Feeds one piece, or the end where `in` is null, and takes everything that comes out.
    Result<void> process(const float* in, std::size_t size, std::vector<float>& out) {
        std::size_t used = 0;
        for (;;) {
            const std::size_t before = out.size();
            const std::size_t room = static_cast<std::size_t>(std::min(
                static_cast<double>(size - used) * ratio + 1024.0, double{chunk_samples} * 8.0));
            out.resize(before + room);
            std::size_t taken = 0;
            std::size_t made = 0;
            const soxr_error_t error =
                soxr_process(filter.get(), in == nullptr ? nullptr : in + used, size - used, &taken,
                             out.data() + before, room, &made);
            out.resize(before + made);
            if (error != nullptr) {
                return Errc::internal;
            }
            used += taken;
            if (made < room && (used == size || in == nullptr)) {
                return {};
            }
        }
    }
};

Resampler::Resampler(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Resampler::Resampler(Resampler&&) noexcept = default;
Resampler& Resampler::operator=(Resampler&&) noexcept = default;
Resampler::~Resampler() = default;

Result<Resampler> Resampler::create(std::uint32_t in_hz, std::uint32_t out_hz) {
    auto impl = std::make_unique<Impl>();
    if (in_hz != out_hz) {
        const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
        const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
        const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
        soxr_error_t error = nullptr;
        impl->filter.reset(soxr_create(in_hz, out_hz, 1, &error, &io, &quality, &runtime));
        if (!impl->filter || error != nullptr) {
            return Errc::job_too_large;
        }
        impl->ratio = static_cast<double>(out_hz) / in_hz;
    }
    return Resampler(std::move(impl));
}

Result<void> Resampler::push(std::span<const float> in, std::vector<float>& out) {
    if (!impl_->filter) {
        out.insert(out.end(), in.begin(), in.end());
        return {};
    }
    for (std::size_t at = 0; at < in.size(); at += chunk_samples) {
        const auto piece = in.subspan(at, std::min(chunk_samples, in.size() - at));
        if (auto pushed = impl_->process(piece.data(), piece.size(), out); !pushed) {
            return pushed;
        }
    }
    return {};
}

Result<void> Resampler::finish(std::vector<float>& out) {
    return impl_->filter ? impl_->process(nullptr, 0, out) : Result<void>{};
}

}  // namespace sonogate::audio
