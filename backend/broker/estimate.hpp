// How long a job will take a worker, and whether that is long.
//
// For: what a job's turn costs, the expected wait, the class of workers. Not for: deadlines.
//
// What is known grows on the way. At the door there is only the size: a moving average of what jobs
// of that endpoint and power of two of bytes took; until one was seen, 200 us and 20 ns a byte,
// what decoding an MP3 of a few minutes costs. But a few hundred kB may be five seconds of WAV or
// an hour of silence in FLAC, so size alone does not make a job long, or whoever sends the one
// would send everybody's other to the slow workers. It begins in a worker for short jobs, which is
// told how many samples of each format make a job of this endpoint long, at first
// 10 ns a sample before. Where the header has more, or tells nothing and time passes, the worker
// gives the job back (JobDone::is_long), and it waits again among the long ones.
//   Parameters can make a job a hundred times as dear, and a mean would let who asks for such ones
// declare everybody's clips long. So what a sample costs is a low quantile: it falls fast and rises
// slowly, and a job that it takes for short by mistake costs a worker for short jobs twice its
// patience, after which it gives the job back (worker/meter.hpp). So a worker that lies, or some
// odd jobs, make others wait that little longer, until about a hundred honest ones have made up for
// ten.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "shm/channel_layout.hpp"

namespace sonogate::broker {

class Estimate {
  public:
    // Beyond this, a job goes to the workers at nice 10: a few short jobs long, and below what a
    // person or a load balancer notices.
    static constexpr std::uint64_t long_job_us = 25'000;
    // What a worker for short jobs gives one whose length the header does not tell.
    static constexpr std::uint64_t patience_us = long_job_us;
    // More than this is long whatever it is: hashing and copying alone take that time.
    static constexpr std::uint64_t short_bytes = 16U << 20U;

    // By size.
    std::uint64_t of(shm::Endpoint endpoint, std::uint64_t bytes) const noexcept {
        const std::uint64_t seen = by_size_us_[index(endpoint)][bucket(bytes)];
        return seen != 0 ? seen : 200 + bytes / 50;
    }

    // By format and length, where a worker has seen the header. 0 where it tells no length.
    std::uint64_t of(shm::Endpoint endpoint, const shm::AudioFacts& audio) const noexcept {
        const std::uint64_t ms = std::min<std::uint64_t>(audio.duration_ms, most_ms);
        const std::uint64_t frames = std::min(ms * audio.sample_rate_hz / 1000, most_frames);
        const std::uint64_t ksamples = frames * audio.channels / 1024;
        const std::uint64_t ns_each = ns_a_ksample(endpoint, audio.format);
        return std::min(ksamples, most_us * 1000 / ns_each) * ns_each / 1000;
    }

    // The samples, in 1024s, that make a job long.
    std::uint32_t short_ksamples(shm::Endpoint endpoint, shm::AudioFormat format) const noexcept {
        return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
            long_job_us * 1000 / ns_a_ksample(endpoint, format), 1, UINT32_MAX));
    }

    // What a worker for short jobs is told.
    shm::ShortJob short_job(shm::Endpoint endpoint) const noexcept {
        shm::ShortJob out{.cpu_us = patience_us};
        for (std::size_t i = 0; i < out.most_ksamples.size(); ++i) {
            out.most_ksamples[i] = short_ksamples(endpoint, static_cast<shm::AudioFormat>(i));
        }
        return out;
    }

    void learn(shm::Endpoint endpoint, std::uint64_t bytes, const shm::AudioFacts& audio,
               std::uint64_t decoded_frames, std::uint64_t took_us) noexcept {
        add(by_size_us_[index(endpoint)][bucket(bytes)], took_us);
        const std::uint64_t ksamples =
            std::min(decoded_frames, most_frames) * audio.channels / 1024;
        if (ksamples >= least_ksamples) {
            lower(ns_a_ksample_[index(endpoint)][index(audio.format)],
                  std::min(took_us, most_us) * 1000 / ksamples);
        }
    }

    // The librarian's part.
    std::uint64_t of_search(shm::Endpoint endpoint) const noexcept {
        const std::uint64_t seen = search_us_[index(endpoint)];
        return seen != 0 ? seen : 500;
    }

    void learn_search(shm::Endpoint endpoint, std::uint64_t took_us) noexcept {
        add(search_us_[index(endpoint)], took_us);
    }

  private:
    static constexpr std::size_t buckets = 42;  // up to max_upload_bytes
    static constexpr std::uint64_t unseen_ns_a_ksample = 10 * std::uint64_t{1024};
    // Shorter jobs are all beginning and end, and say nothing about samples.
    static constexpr std::uint64_t least_ksamples = 64;
    // A worker's figures are not trusted to be sane: beyond these the products would overflow.
    static constexpr std::uint64_t most_ms = 1'000'000'000;
    static constexpr std::uint64_t most_frames = 1ULL << 44U;
    static constexpr std::uint64_t most_us = 1ULL << 44U;

    // Of about the last eight.
    static void add(std::uint64_t& average, std::uint64_t seen) noexcept {
        seen = std::clamp<std::uint64_t>(seen, 1, most_us);
        average = average == 0 ? seen : std::max<std::uint64_t>((average * 7 + seen) / 8, 1);
    }

    // About the tenth part of what is seen lies below.
    static void lower(std::uint64_t& quantile, std::uint64_t seen) noexcept {
        seen = std::clamp<std::uint64_t>(seen, 1, most_us);
        if (quantile == 0) {
            quantile = seen;
        } else if (seen < quantile) {
            quantile -= (quantile - seen + 3) / 4;
        } else {
            quantile += (std::min(seen, 2 * quantile) - quantile) / 32;
        }
    }

    static std::size_t index(shm::Endpoint endpoint) noexcept {
        return std::min(static_cast<std::size_t>(endpoint), shm::endpoint_count - 1);
    }
    static std::size_t index(shm::AudioFormat format) noexcept {
        return std::min(static_cast<std::size_t>(format), format_count - 1);
    }
    static std::size_t bucket(std::uint64_t bytes) noexcept {
        return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(bytes)), buckets - 1);
    }

    std::uint64_t ns_a_ksample(shm::Endpoint endpoint, shm::AudioFormat format) const noexcept {
        const std::uint64_t seen = ns_a_ksample_[index(endpoint)][index(format)];
        return seen != 0 ? seen : unseen_ns_a_ksample;
    }

    static constexpr auto format_count = static_cast<std::size_t>(shm::AudioFormat::count_);

    std::array<std::array<std::uint64_t, buckets>, shm::endpoint_count> by_size_us_{};
    std::array<std::array<std::uint64_t, format_count>, shm::endpoint_count> ns_a_ksample_{};
    std::array<std::uint64_t, shm::endpoint_count> search_us_{};
};

}  // namespace sonogate::broker
