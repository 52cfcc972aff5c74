// The bytes that the broker shares with a worker or with the librarian: a channel.
//
// For: both ends of a channel. Not for: nginx, which never sees one. As in layout.hpp every segment
// has one writer, docs/protocol.md draws it, and layout_version goes up with a change.
#pragma once

#include "shm/layout.hpp"

namespace sonogate::shm {

enum JobFlags : std::uint32_t {
    job_input_in_file = 1U << 0U,  // the input is a memfd sent beside (InputFile), not in the arena
    job_catalog_write = 1U << 1U,
    job_track_id_made = 1U << 2U,  // nginx made the track id; a JSON body may name its own
};

// What a worker for short jobs may find before it gives a job back (JobDone::is_long). All zero in
// a worker for long ones: there it stays.
struct ShortJob {
    std::uint32_t cpu_us = 0;  // after so much time
    // By format: the samples of all channels, in 1024s, that make a job long before it began.
    std::array<std::uint32_t, static_cast<std::size_t>(AudioFormat::count_)> most_ksamples{};
};
static_assert(sizeof(ShortJob) == 84);

// Broker -> child. `params` and `body` are offsets into the channel's arena, or into the file.
struct alignas(cache_line_bytes) Job {
    std::uint64_t number = 0;  // the broker's own, unique while the daemon lives
    Endpoint endpoint = Endpoint::none;
    BodyKind body = BodyKind::none;
    std::uint32_t flags = 0;
    std::uint64_t params_offset = 0;
    std::uint64_t body_offset = 0;
    std::uint64_t body_bytes = 0;
    std::uint32_t params_bytes = 0;
    std::uint32_t cpu_ms = 0;  // how long it may compute
    AudioLimits limits;
    std::uint64_t job_memory_bytes = 0;
    std::uint64_t result_bytes = 0;  // the largest answer
    std::uint64_t deadline_ns = 0;   // now_ns() after which nobody waits for the answer
    ShortJob short_job;
    std::array<std::uint8_t, 16> job_key{};
    Text request_id;
    Text track_id;
    std::array<std::uint8_t, 4> reserved{};
};
static_assert(sizeof(Job) == 512 && std::is_trivially_copyable_v<Job>);

// Child -> broker. The result lies in the result slot of the entry's ring position, or in a file
// sent before.
struct alignas(cache_line_bytes) JobDone {
    std::uint64_t number = 0;
    std::uint16_t status = 0;
    ResultPlace place = ResultPlace::none;
    std::uint32_t token = 0;  // file: the ResultFile's token
    std::uint64_t result_bytes = 0;
    std::uint64_t etag = 0;
    FailureFacts failure;
    StageTimes times;
    AudioFacts audio;
    std::uint64_t decoded_frames = 0;
    std::uint64_t cpu_us = 0;             // what it took of the processor
    std::uint64_t heap_before_bytes = 0;  // as the allocator counts: before the job …
    std::uint64_t heap_peak_bytes = 0;    // … at most, beyond that …
    std::uint64_t heap_after_bytes = 0;   // … and after it
    Text track_id;
    std::uint8_t is_long = 0;  // 1: not done, it is for a worker of the other class
    std::array<std::uint8_t, 61> reserved{};
};
static_assert(sizeof(JobDone) == 320 && std::is_trivially_copyable_v<JobDone>);

inline constexpr std::uint32_t channel_ring_entries = 16;         // a power of two
inline constexpr std::uint32_t channel_result_bytes = 1U << 20U;  // one slot a ring position
inline constexpr std::uint64_t channel_arena_bytes =
    18ULL << 20U;  // two warm uploads and their parameters

// Written by the broker alone: a child's input.
struct ChannelIn {
    SegmentHeader header;
    alignas(cache_line_bytes) Index job_tail;
    alignas(cache_line_bytes) Index done_head;
    alignas(cache_line_bytes) Index armed;  // odd while the broker sleeps
    alignas(cache_line_bytes) Counter
        cancelled_number;  // job the child should stop working on, 0 = none
    Index log_level;       // LogLevel, for the child to follow
    alignas(cache_line_bytes) Job jobs[channel_ring_entries];
    alignas(4096) std::byte arena[channel_arena_bytes];
};

// Written by the child alone: its results.
struct ChannelOut {
    SegmentHeader header;
    alignas(cache_line_bytes) Index done_tail;
    alignas(cache_line_bytes) Index job_head;
    alignas(cache_line_bytes) Index armed;          // odd while the child sleeps
    alignas(cache_line_bytes) Counter progress_ns;  // now_ns() of the child's last sign of life
    Counter allocated_bytes;                        // jemalloc's stats.allocated
    Counter resident_bytes;                         // jemalloc's stats.resident
    Counter catalog_version;  // librarian: published before the answer that made it
    Counter catalog_tracks;
    Counter catalog_hashes;
    Counter catalog_state;  // PartState
    Counter queries;        // librarian: identify jobs searched
    Counter queries_matched;
    Counter refused_calls;  // worker: system calls that its filter answered with ENOSYS
    Counter refused_call;   // the number of the last one, as the kernel counts them
    alignas(cache_line_bytes) JobDone done[channel_ring_entries];
    alignas(4096) std::byte results[channel_ring_entries][channel_result_bytes];
};

// broker -> child over the channel's socket, with one descriptor: a large upload. Sent before its
// job.
struct InputFile {
    std::uint64_t number = 0;
    std::uint64_t segment_bytes = 0;
};

}  // namespace sonogate::shm
