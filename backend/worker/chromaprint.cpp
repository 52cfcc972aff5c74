#include "worker/chromaprint.hpp"

#include <chromaprint.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <vector>

#include "base/clock.hpp"

namespace sonogate::worker {
namespace {

static_assert(chromaprint_algorithm == CHROMAPRINT_ALGORITHM_DEFAULT);

struct FreeContext {
    void operator()(ChromaprintContext* context) const noexcept { chromaprint_free(context); }
};
struct FreeText {
    void operator()(char* text) const noexcept { chromaprint_dealloc(text); }
};
using Context = std::unique_ptr<ChromaprintContext, FreeContext>;

std::int16_t to_int16(float sample) noexcept {
    return static_cast<std::int16_t>(std::clamp(std::lrint(sample * 32768.0F), -32768L, 32767L));
}

Result<void> feed(ChromaprintContext* context, std::span<const float> mono,
                  std::vector<std::int16_t>& scratch) {
    scratch.resize(mono.size());
    std::transform(mono.begin(), mono.end(), scratch.begin(), to_int16);
    if (chromaprint_feed(context, scratch.data(), static_cast<int>(scratch.size())) != 1) {
        return Errc::internal;
    }
    return {};
}

// Empty where there is not one item.
Result<std::string> finished(ChromaprintContext* context) {
    int items = 0;
    char* text = nullptr;
    if (chromaprint_finish(context) != 1 ||
        chromaprint_get_raw_fingerprint_size(context, &items) != 1) {
        return Errc::internal;
    }
    if (items == 0) {
        return std::string();
    }
    if (chromaprint_get_fingerprint(context, &text) != 1) {
        return Errc::internal;
    }
    const std::unique_ptr<char, FreeText> owned(text);
    return std::string(text);
}

}  // namespace

Result<ChromaprintIntake> take_chromaprint(const Input& input) {
    const Context context(chromaprint_new(chromaprint_algorithm));
    if (!context) {
        throw std::bad_alloc();
    }
    const int rate_hz = chromaprint_get_sample_rate(context.get());
    if (chromaprint_start(context.get(), rate_hz, 1) != 1) {
        return Errc::internal;
    }
    std::vector<std::int16_t> scratch;
    auto taken = take_resampled(
        input, static_cast<std::uint32_t>(rate_hz),
        [&](std::span<const float> mono) { return feed(context.get(), mono, scratch); });
    if (!taken) {
        return taken.failure();
    }
    const std::uint64_t finish_us = now_us();
    auto fingerprint = finished(context.get());
    if (!fingerprint) {
        return fingerprint.failure();
    }
    if (fingerprint->empty()) {
        return Errc::too_short;
    }
    ChromaprintIntake out{std::move(*taken), std::move(*fingerprint)};
    out.times.compute_us += static_cast<std::uint32_t>(now_us() - finish_us);
    return out;
}

}  // namespace sonogate::worker
