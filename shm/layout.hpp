// The bytes that two processes share, and nothing else: no behaviour lives here.
//
// For: nginx worker <-> broker (a link), and what a channel to a worker or to the librarian has in
// common with it (channel_layout.hpp). docs/protocol.md draws the same layout, and a test holds the
// two together. Every segment has exactly one writer; whoever reads it copies an entry, validates
// the copy and uses the copy. Change anything here and layout_version goes up.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/audio_format.hpp"

namespace sonogate::shm {

inline constexpr std::uint64_t magic = 0x45544147'4f4e4f53ULL;  // "SONOGATE"
inline constexpr std::uint32_t layout_version = 6;
inline constexpr std::size_t cache_line_bytes = 64;

using Index = std::atomic<std::uint32_t>;
static_assert(Index::is_always_lock_free && sizeof(Index) == 4);
using Counter = std::atomic<std::uint64_t>;
static_assert(Counter::is_always_lock_free && sizeof(Counter) == 8);

// ---- names shared by both sides
// --------------------------------------------------------------------------------

enum class Endpoint : std::uint16_t {
    none = 0,
    analyze,
    identify,
    fingerprint,   // audio in, a worker's job
    track_create,  // audio in, worker then librarian
    track_list,
    track_get,
    track_patch,
    track_delete,  // the librarian alone
    metrics,       // the broker's own answer
    monitor,       // audio in, worker then librarian
    count_,
};
inline constexpr std::size_t endpoint_count = static_cast<std::size_t>(Endpoint::count_);

// How the input bytes are to be read. Multipart is already taken apart by nginx and arrives as
// `raw`.
enum class BodyKind : std::uint16_t { none = 0, raw, json, count_ };

// Whose turn it is first: batch jobs get what interactive ones leave, and a share of their own.
enum class Priority : std::uint8_t { interactive = 0, batch, count_ };

// What a location accepts of an upload's audio; a zero bounds nothing. The worker, which alone can
// tell, holds a job to it.
struct AudioLimits {
    std::uint64_t max_audio_ms = 0;
    std::uint64_t min_audio_ms = 0;
    std::uint64_t max_decoded_bytes = 0;  // as 32-bit samples of every channel
    std::uint64_t formats = 0;            // bit i: AudioFormat i is let in; 0 = all are
    std::uint32_t max_channels = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(AudioLimits) == 40);

// A job for as long as it lives: which link, which place in nginx's pending table, which use of
// that place.
struct JobId {
    std::uint64_t epoch = 0;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    friend bool operator==(const JobId&, const JobId&) = default;
};
static_assert(sizeof(JobId) == 16);

inline constexpr std::size_t text_bytes = 128;  // request ids and track ids: 1 to 128 bytes
struct Text {
    std::uint16_t size = 0;
    std::array<char, text_bytes> data{};
};

// ---- upload slabs
// ----------------------------------------------------------------------------------------------
// One memfd a slab, written by one nginx worker. The packed parameters (shm/params.hpp) stand at
// offset 0, the audio (or the JSON body) at slab_audio_offset. Untouched pages cost nothing.

inline constexpr std::uint32_t slab_params_bytes = 64U << 10U;
inline constexpr std::uint64_t slab_audio_offset = slab_params_bytes;
inline constexpr std::uint64_t warm_slab_audio_bytes = 8U
                                                       << 20U;  // larger uploads get a fresh memfd
inline constexpr std::uint64_t ticketless_bytes =
    64U << 10U;  // at or below, the submission is the ticket
inline constexpr std::uint64_t max_upload_bytes = 1ULL
                                                  << 40U;  // nobody sends more; bounds every sum

// ---- the link: nginx worker <-> broker
// -------------------------------------------------------------------------

enum class Op : std::uint16_t {
    none = 0,
    admit,   // asks for a ticket: need_bytes (declared, or sonogate_max_body), charged_bytes held
             // already
    charge,  // raises what the ticket holds to charged_bytes
    give_back,       // the ticket ends without a job
    submit,          // the job, whole; takes the ticket over where there is one
    cancel,          // the client left; the completion still comes
    release_result,  // a result slot is free again
    count_,
};

enum SubmissionFlags : std::uint16_t {
    submission_has_ticket = 1U << 0U,     // an admit was granted for this job id
    submission_resubmitted = 1U << 1U,    // a backend died with it before
    submission_catalog_write = 1U << 2U,  // the location allows the catalog to be written
    submission_cacheable = 1U << 3U,      // cache_key holds: the answer may be kept and shared
};

struct alignas(cache_line_bytes) Submission {
    Op op = Op::none;
    Endpoint endpoint = Endpoint::none;
    BodyKind body = BodyKind::none;
    std::uint16_t flags = 0;
    std::uint32_t slab = 0;             // upload slab id, 0 = none (no params, no body)
    std::uint32_t slab_generation = 0;  // which use of that slab
    JobId job;
    std::uint32_t params_bytes = 0;       // at slab offset 0
    std::uint32_t result_slot = 0;        // release_result
    std::uint32_t result_generation = 0;  // release_result
    std::uint32_t receive_us = 0;         // first to last byte of the body
    std::uint64_t audio_bytes = 0;        // at slab_audio_offset
    std::uint64_t need_bytes = 0;         // admit: the most that this upload can grow to
    std::uint64_t charged_bytes = 0;      // admit: held already; charge: the new sum
    AudioLimits limits;
    std::array<std::uint8_t, 16>
        job_key{};  // made by nginx at first submission: a repeat is known by it
    Text request_id;
    Text track_id;  // from the path, the query or a part; else made by nginx; see track_id_made
    std::uint8_t track_id_made = 0;  // 1: made by nginx, so a JSON body may still name its own
    Priority priority = Priority::interactive;
    std::uint16_t most_at_once = 0;            // tickets that its caller may hold, 0 = any number
    std::array<std::uint64_t, 2> cache_key{};  // what the answer depends on, hashed (shm/cache.hpp)
    std::uint64_t caller = 0;    // whom most_at_once counts, hashed by nginx under a secret
    std::uint64_t identity = 0;  // who asks, hashed likewise; always there
    std::array<std::uint8_t, 16> trace_id{};  // W3C Trace Context; all zero: none
};
static_assert(sizeof(Submission) == 448 && std::is_trivially_copyable_v<Submission>);

enum class CompletionKind : std::uint16_t { none = 0, admitted, charged, done, count_ };
enum class ResultPlace : std::uint16_t { none = 0, slot, file, count_ };

// What a worker found out about the audio, for log variables and metrics.
struct AudioFacts {
    AudioFormat format = AudioFormat::unknown;
    std::uint16_t channels = 0;
    std::uint32_t sample_rate_hz = 0;
    std::uint64_t duration_ms = 0;
};
static_assert(sizeof(AudioFacts) == 16);

struct StageTimes {
    std::uint32_t queue_us = 0;
    std::uint32_t decode_us = 0;
    std::uint32_t compute_us = 0;  // transform and operation
    std::uint32_t search_us = 0;   // the librarian's part
};
static_assert(sizeof(StageTimes) == 16);

// A failure as base/result.hpp has it, without errno.
struct FailureFacts {
    std::uint16_t errc = 0;       // Errc, 0 = success
    std::uint16_t parameter = 0;  // Parameter
    std::uint32_t retry_after_s = 0;
    std::uint64_t limit = 0;
    std::uint64_t value = 0;
};
static_assert(sizeof(FailureFacts) == 24);

struct alignas(cache_line_bytes) Completion {
    CompletionKind kind = CompletionKind::none;
    std::uint16_t status = 0;  // HTTP status of a success: 200, 201 or 204
    ResultPlace place = ResultPlace::none;
    std::uint16_t text_plain = 0;   // 1: the result is text (metrics), not JSON
    std::uint32_t result_slot = 0;  // slot: which; file: the token of the descriptor sent beside
    std::uint32_t result_generation = 0;
    JobId job;
    std::uint64_t result_bytes = 0;
    std::uint64_t granted_bytes = 0;  // admitted, charged: what the ticket holds now
    std::uint64_t etag = 0;           // GET of tracks: changes when the answer does, 0 = none
    FailureFacts failure;
    StageTimes times;
    AudioFacts audio;
    Text track_id;            // of a created track
    std::uint8_t cached = 0;  // 1: from the result cache, no job ran
    std::uint8_t again = 0;   // 1: refused by a daemon that drains; the next one may be asked
    std::array<std::uint8_t, 20> reserved{};
};
static_assert(sizeof(Completion) == 256 + cache_line_bytes &&
              std::is_trivially_copyable_v<Completion>);

inline constexpr std::uint32_t link_ring_entries = 1024;  // a power of two

// What a segment begins with; immutable once the handshake was sent.
struct SegmentHeader {
    std::uint64_t magic = 0;
    std::uint32_t version = 0;
    std::uint32_t segment_bytes = 0;
    std::uint64_t epoch = 0;
};

// Requests that one nginx worker answered, by endpoint and status. Index 0 of each axis is "other".
inline constexpr std::array<std::uint16_t, 24> counted_statuses = {
    0,   200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 408,
    409, 413, 415, 421, 422, 429, 499, 500, 502, 503, 504, 507};
enum class CountedEndpoint : std::uint16_t {
    other = 0,
    analyze,
    identify,
    fingerprint,
    tracks,
    track,
    metrics,
    health,
    ready,
    monitor,
    count_,
};
inline constexpr std::size_t counted_endpoint_count =
    static_cast<std::size_t>(CountedEndpoint::count_);

// The last hits in the result cache that a worker remembers for the broker.
inline constexpr std::uint32_t noted_hits = 256;  // a power of two

// Written by the nginx worker alone.
struct LinkUp {
    SegmentHeader header;
    alignas(cache_line_bytes) Index submission_tail;  // producer's end of submissions
    alignas(cache_line_bytes) Index completion_head;  // consumer's end of LinkDown::completions
    alignas(cache_line_bytes) Index armed;            // odd while the nginx worker sleeps
    alignas(cache_line_bytes) Counter
        upload_slab_bytes;  // memory of this worker's slabs, warm ones included
    Counter result_bytes_in_use;
    Counter cache_lookups;
    Counter cache_hits;             // stored with release after the hit was noted
    Index hit_entries[noted_hits];  // entries of the cache that were hit; number i at i % 256
    alignas(cache_line_bytes) Counter requests[counted_endpoint_count][counted_statuses.size()];
    alignas(cache_line_bytes) Submission submissions[link_ring_entries];
};

enum class PartState : std::uint32_t { down = 0, starting, ready, draining, count_ };

inline constexpr std::size_t published_queues = 3;

// Written by the broker alone.
struct LinkDown {
    SegmentHeader header;
    alignas(cache_line_bytes) Index completion_tail;  // producer's end of completions
    alignas(cache_line_bytes) Index submission_head;  // consumer's end of LinkUp::submissions
    alignas(cache_line_bytes) Index armed;            // odd while the broker sleeps
    alignas(cache_line_bytes) Counter
        heartbeat_ns;     // now_ns() of the broker's last turn, at least every second
    Counter queue_depth;  // jobs waiting for a worker
    Counter expected_wait_us[published_queues];  // for short jobs, long jobs, the librarian
    Counter catalog_version;
    Counter catalog_tracks;
    Counter disk_free_bytes;
    Counter catalog_stamp;  // which catalog in which version, for cache keys; 0 = not known
    Index workers_ready;
    Index workers_wanted;
    Index librarian;  // PartState
    Index catalog;    // PartState
    Index daemon;     // PartState: ready or draining
    alignas(cache_line_bytes) Completion completions[link_ring_entries];
};

// Result slots of one link: one segment, written by the broker, two sizes. Results that fit no free
// slot travel as a sealed memfd.
inline constexpr std::uint32_t small_result_slots = 192;
inline constexpr std::uint32_t small_result_bytes = 32U << 10U;
inline constexpr std::uint32_t large_result_slots = 8;
inline constexpr std::uint32_t large_result_bytes = 1U << 20U;
inline constexpr std::uint32_t result_slots = small_result_slots + large_result_slots;
inline constexpr std::uint64_t result_segment_bytes =
    std::uint64_t{small_result_slots} * small_result_bytes +
    std::uint64_t{large_result_slots} * large_result_bytes;

constexpr std::uint64_t result_slot_offset(std::uint32_t slot) noexcept {
    return slot < small_result_slots
               ? std::uint64_t{slot} * small_result_bytes
               : std::uint64_t{small_result_slots} * small_result_bytes +
                     std::uint64_t{slot - small_result_slots} * large_result_bytes;
}
constexpr std::uint32_t result_slot_bytes(std::uint32_t slot) noexcept {
    return slot < small_result_slots ? small_result_bytes : large_result_bytes;
}

// ---- the socket of a link
// --------------------------------------------------------------------------------------
// SOCK_SEQPACKET: one message a packet, told apart by its first byte. A single byte of any value is
// a doorbell.

enum class MessageKind : std::uint32_t {
    bell = 0,
    hello,
    welcome,
    slab_add,
    slab_drop,
    result_file,
    count_
};

inline constexpr std::size_t path_bytes = 1024;

// What is logged; `unset`: what the daemon's command line says.
enum class LogLevel : std::uint16_t { unset = 0, debug, info, warn, error, count_ };

// The pool's settings from nginx.conf; the newest `stamp` wins.
struct PoolSettings {
    std::uint64_t stamp = 0;    // when the configuration was read, ms since the epoch
    std::uint32_t workers = 0;  // short-job workers, 0 = one a core
    std::uint32_t queue_jobs = 256;
    std::uint32_t queue_timeout_ms = 10'000;
    std::uint32_t job_deadline_ms = 300'000;
    std::uint64_t job_memory_bytes = 512ULL << 20U;
    std::uint64_t upload_memory_bytes = 1ULL << 30U;
    std::uint64_t result_cache_bytes = 0;  // 0 = no result cache
    std::uint64_t job_result_bytes = 64ULL << 20U;
    std::uint64_t disk_reserve_bytes = 16ULL << 20U;
    std::uint32_t result_cache_ttl_ms = 0;
    std::uint32_t drain_timeout_ms = 30'000;
    std::uint32_t quarantine_ms = 600'000;    // 0 = nothing is quarantined
    std::uint32_t crash_budget = 10;          // workers that one identity may crash …
    std::uint32_t crash_budget_ms = 600'000;  // … in that time; 0 = any number
    std::uint32_t job_cpu_ms = 120'000;
    std::uint32_t worker_jobs = 1000;  // after so many a worker makes way for a new one
    LogLevel log_level = LogLevel::unset;
    std::uint16_t catalog_bytes = 0;  // length of `catalog`, e.g. "sqlite:catalog.db"
    std::array<char, path_bytes> catalog{};
};
static_assert(sizeof(PoolSettings) == 1120 && std::is_trivially_copyable_v<PoolSettings>);

// nginx worker -> broker, with one descriptor: LinkUp.
struct Hello {
    MessageKind kind = MessageKind::hello;
    std::uint32_t version = layout_version;
    std::uint64_t magic_number = magic;
    std::uint32_t link_up_bytes = sizeof(LinkUp);
    std::uint32_t link_down_bytes = sizeof(LinkDown);
    std::uint32_t submission_bytes = sizeof(Submission);
    std::uint32_t completion_bytes = sizeof(Completion);
    PoolSettings settings;
};

// broker -> nginx worker, with descriptors: LinkDown, the result segment, and the result cache
// where there is one. None where errc says why not.
struct Welcome {
    MessageKind kind = MessageKind::welcome;
    std::uint32_t version = layout_version;
    std::uint64_t magic_number = magic;
    std::uint64_t epoch = 0;
    std::uint32_t errc = 0;
    std::uint32_t reserved = 0;
    std::uint64_t cache_bytes = 0;                  // of the cache's segment, 0 = there is none
    std::array<std::uint64_t, 4> cache_hash_key{};  // the same for all links of one daemon
};

// nginx worker -> broker, with one descriptor: an upload slab. Sent before a submission names it.
struct SlabAdd {
    MessageKind kind = MessageKind::slab_add;
    std::uint32_t slab = 0;  // 1 and up, not in use
    std::uint64_t segment_bytes = 0;
    std::uint32_t warm =
        0;  // 1: mapped by the broker and reused; 0: handed on to the worker, never reused
    std::uint32_t reserved = 0;
};

// nginx worker -> broker: the slab is closed; no job names it any more.
struct SlabDrop {
    MessageKind kind = MessageKind::slab_drop;
    std::uint32_t slab = 0;
};

// broker -> nginx worker, worker or librarian -> broker, with one descriptor: a result memfd,
// sealed against writes. Sent before the completion that names the token.
struct ResultFile {
    MessageKind kind = MessageKind::result_file;
    std::uint32_t token = 0;
    std::uint64_t result_bytes = 0;
};

inline constexpr std::size_t max_message_bytes = sizeof(Hello);

}  // namespace sonogate::shm
