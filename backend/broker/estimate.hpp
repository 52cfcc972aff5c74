// How long a job will take a worker, from what is known before anybody parsed it.
//
// For: choosing the class of workers, the backlog of one, the expected wait. Not for: deadlines.
// The model: a moving average of the worker's time for each endpoint and each power of two of
// upload bytes. Until a class of jobs was seen, 200 µs and 20 ns a byte: what decoding an MP3 of a
// few minutes costs, and five times too much for WAV, which the first answers put right.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "shm/layout.hpp"

namespace sonogate::broker {

class Estimate {
  public:
    // Beyond this, a job goes to the workers at nice 10: a few short jobs long, and below what a
    // person or a load balancer notices.
    static constexpr std::uint64_t long_job_us = 25'000;

    std::uint64_t of(shm::Endpoint endpoint, std::uint64_t bytes) const noexcept {
        const std::uint64_t seen = average_us_[index(endpoint)][bucket(bytes)];
        return seen != 0 ? seen : 200 + bytes / 50;
    }

    void learn(shm::Endpoint endpoint, std::uint64_t bytes, std::uint64_t took_us) noexcept {
        auto& average = average_us_[index(endpoint)][bucket(bytes)];
        const std::uint64_t took = std::max<std::uint64_t>(took_us, 1);
        average = average == 0 ? took : (average * 7 + took) / 8;
        average = std::max<std::uint64_t>(average, 1);
    }

  private:
    static constexpr std::size_t buckets = 42;  // up to max_upload_bytes

    static std::size_t index(shm::Endpoint endpoint) noexcept {
        return std::min(static_cast<std::size_t>(endpoint), shm::endpoint_count - 1);
    }
    static std::size_t bucket(std::uint64_t bytes) noexcept {
        return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(bytes)), buckets - 1);
    }

    std::array<std::array<std::uint64_t, buckets>, shm::endpoint_count> average_us_{};
};

}  // namespace sonogate::broker
