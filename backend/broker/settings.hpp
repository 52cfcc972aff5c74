// The pool's settings as they came in a handshake: checked, the newest wins.
//
// For: turning shm::PoolSettings, a peer's words, into what the broker acts on. Not for: reading
// nginx.conf (ngx_module/conf).
#pragma once

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "shm/layout.hpp"

namespace sonogate::broker {

struct Settings {
    std::uint64_t stamp = 0;    // 0 = none came yet
    std::uint32_t workers = 1;  // of each class
    std::uint32_t queue_jobs = 256;
    std::uint64_t queue_timeout_ns = 10'000'000'000;
    std::uint64_t job_deadline_ns = 300'000'000'000;
    std::uint64_t drain_timeout_ns = 30'000'000'000;
    std::uint64_t job_memory_bytes = 512ULL << 20U;
    std::uint64_t upload_memory_bytes = 1ULL << 30U;
    std::uint64_t job_result_bytes = 64ULL << 20U;
    std::uint32_t job_cpu_ms = 120'000;
    std::uint64_t disk_reserve_bytes = 16ULL << 20U;
    std::uint64_t result_cache_bytes = 0;  // 0 = none
    std::uint64_t result_cache_ttl_ns = 0;
    std::uint64_t quarantine_ns = 600'000'000'000;    // 0 = nothing is quarantined
    std::uint32_t crash_budget = 10;                  // workers that an identity may crash …
    std::uint64_t crash_budget_ns = 600'000'000'000;  // … in that time; 0 = any number
    std::uint32_t worker_jobs = 1000;                 // after so many a worker makes way
    shm::LogLevel log_level = shm::LogLevel::unset;
    std::string store;  // "sqlite:/absolute/path", empty = no catalog
};

inline constexpr std::uint32_t max_workers = 256;

// What a peer asks for, checked. Errors: invalid_parameter where a number is out of reason or the
// catalog is no "sqlite:PATH"; forbidden where its path leaves the state folder, links followed.
Result<Settings> read_settings(const shm::PoolSettings& settings, const std::string& state_folder);

}  // namespace sonogate::broker
