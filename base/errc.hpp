// Every way a request can fail, and the one place where a failure becomes an HTTP answer.
//
// For: the codes that cross shared memory (never text) and their RFC 9457 problem types, as the
// HTTP contract fixes them. Not for: errno values, log lines, or the wording of `detail`
// (ngx_module/problem.cpp has it).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sonogate {

// The numbers are part of the shared-memory layout: append, never renumber.
enum class Errc : std::uint16_t {
    ok = 0,
    malformed_request,     // the request is not HTTP as the contract has it (e.g. unreadable body)
    malformed_multipart,   // multipart/form-data without boundary, cut, or with broken part headers
    malformed_json,        // a JSON body that does not parse, or is not an object
    missing_audio,         // nothing uploaded: an empty body, no audio part, no "audio" member
    invalid_parameter,     // a parameter is out of range, repeated or unknown in value; `parameter`
                           // names it
    unauthenticated,       // no key, or one that is not known
    forbidden,             // the caller may not do that here (e.g. write to a read-only catalog)
    origin_not_allowed,    // CORS
    not_found,             // no such path, or no such track
    method_not_allowed,    // the path exists, with other methods
    track_exists,          // the track id is taken by other audio
    upload_offset,         // a resumable upload continues at another offset
    upload_timeout,        // the client stopped sending
    body_too_large,        // more bytes than sonogate_max_body
    audio_too_long,        // more seconds than sonogate_max_audio
    unsupported_format,    // bytes of no known audio format
    unknown_host,          // not one of sonogate_hosts
    undecodable,           // a known format of which no frame decodes
    too_short,             // zero frames, or too few for the job
    silent,                // nothing but silence where music is needed
    job_too_large,         // over the memory of a job
    quarantined,           // this content crashed workers before
    rate_limited,          // a rate policy says no
    internal,              // a bug or a broken part of ours
    worker_crashed,        // the worker died with this job, and so did the one that tried again
    overloaded,            // queue or upload memory is full, or a wait in one took too long
    concurrency_limited,   // too many jobs of this caller at once
    backend_unavailable,   // no daemon behind the link
    draining,              // the daemon is stopping
    deadline_exceeded,     // the job ran past its deadline
    insufficient_storage,  // not enough disk for what was asked
    cancelled,             // the client left; never sent to anybody
    count_,
};

inline constexpr std::size_t errc_count = static_cast<std::size_t>(Errc::count_);

struct Problem {
    std::uint16_t status;    // HTTP status
    std::string_view type;   // last part of "/problems/…"
    std::string_view title;  // short, for people
};

// Indexed by Errc. `ok` and `cancelled` are never serialised; 499 is nginx's own number for a
// client that left.
inline constexpr std::array<Problem, errc_count> problems = {{
    {200, "ok", "OK"},
    {400, "malformed-request", "Malformed request"},
    {400, "malformed-multipart", "Malformed multipart body"},
    {400, "malformed-json", "Malformed JSON body"},
    {400, "missing-audio", "No audio was uploaded"},
    {400, "invalid-parameter", "Invalid parameter"},
    {401, "unauthenticated", "Authentication required"},
    {403, "forbidden", "Forbidden"},
    {403, "origin-not-allowed", "Origin not allowed"},
    {404, "not-found", "Not found"},
    {405, "method-not-allowed", "Method not allowed"},
    {409, "track-exists", "Track exists with other audio"},
    {409, "upload-offset", "Upload offset mismatch"},
    {408, "upload-timeout", "Upload timed out"},
    {413, "body-too-large", "Body too large"},
    {413, "audio-too-long", "Audio too long"},
    {415, "unsupported-format", "Unsupported audio format"},
    {421, "unknown-host", "Unknown host"},
    {422, "undecodable", "Audio cannot be decoded"},
    {422, "too-short", "Audio too short"},
    {422, "silent", "Audio is silent"},
    {422, "job-too-large", "Job too large"},
    {422, "quarantined", "Content is quarantined"},
    {429, "rate-limited", "Too many requests"},
    {500, "internal", "Internal error"},
    {502, "worker-crashed", "Worker crashed"},
    {503, "overloaded", "Overloaded"},
    {503, "concurrency-limited", "Too many concurrent requests"},
    {503, "backend-unavailable", "Backend unavailable"},
    {503, "draining", "Draining"},
    {504, "deadline-exceeded", "Deadline exceeded"},
    {507, "insufficient-storage", "Insufficient storage"},
    {499, "cancelled", "Cancelled"},
}};

// The HTTP side of a code. A number that is no Errc (a lie from a peer) is `internal`.
constexpr const Problem& problem_of(Errc errc) noexcept {
    const auto i = static_cast<std::size_t>(errc);
    return problems[i < errc_count ? i : static_cast<std::size_t>(Errc::internal)];
}

}  // namespace sonogate
