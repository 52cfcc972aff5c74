// The monotonic clock, in units that say what they are.
#pragma once

#include <time.h>

#include <cstdint>

namespace sonogate {

// Nanoseconds of CLOCK_MONOTONIC: the same clock in every process of one machine.
inline std::uint64_t now_ns() noexcept {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(t.tv_nsec);
}

inline std::uint64_t now_us() noexcept {
    return now_ns() / 1'000U;
}
inline std::uint64_t now_ms() noexcept {
    return now_ns() / 1'000'000U;
}

}  // namespace sonogate
