#include "broker/settings.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <thread>

namespace sonogate::broker {

namespace {

constexpr std::string_view sqlite_scheme = "sqlite:";
constexpr std::uint64_t ms_ns = 1'000'000;

// The absolute path of a catalog, proven to lie inside the folder: no step upwards, and no link
// that leads out.
Result<std::string> catalog_path(std::string_view text, const std::string& state_folder) {
    namespace fs = std::filesystem;
    const bool visible = std::all_of(text.begin(), text.end(), [](char c) {
        return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
    });
    if (text.empty() || !visible) {
        return Errc::invalid_parameter;
    }
    std::error_code error;
    const fs::path folder = fs::canonical(state_folder, error);
    if (error) {
        return system_failure(error.value());
    }
    const fs::path wanted = folder / fs::path(text);  // an absolute one replaces the folder
    for (const auto& part : wanted) {
        if (part == "..") {
            return Errc::forbidden;
        }
    }
    const fs::path real = fs::weakly_canonical(wanted, error);
    if (error) {
        return system_failure(error.value());
    }
    const auto [end, rest] = std::mismatch(folder.begin(), folder.end(), real.begin(), real.end());
    if (end != folder.end() || rest == real.end()) {
        return Errc::forbidden;
    }
    if (fs::is_symlink(fs::symlink_status(wanted, error)) || fs::is_directory(real, error)) {
        return Errc::forbidden;  // also a link that dangles: who opens it would follow it
    }
    return real.string();
}

}  // namespace

Result<Settings> read_settings(const shm::PoolSettings& settings, const std::string& state_folder) {
    if (settings.workers > max_workers || settings.queue_jobs == 0 || settings.worker_jobs == 0 ||
        settings.job_deadline_ms == 0 || settings.job_cpu_ms == 0 ||
        settings.job_result_bytes == 0 || settings.job_result_bytes > shm::max_upload_bytes ||
        settings.disk_reserve_bytes > shm::max_upload_bytes || settings.upload_memory_bytes == 0 ||
        settings.upload_memory_bytes > shm::max_upload_bytes ||
        settings.result_cache_bytes > shm::max_upload_bytes ||
        settings.log_level >= shm::LogLevel::count_ ||
        settings.catalog_bytes > settings.catalog.size()) {
        return Errc::invalid_parameter;
    }
    Settings out;
    out.stamp = settings.stamp;
    out.workers = settings.workers != 0
                      ? settings.workers
                      : std::clamp(std::thread::hardware_concurrency(), 1U, max_workers);
    out.queue_jobs = settings.queue_jobs;
    out.queue_timeout_ns = settings.queue_timeout_ms * ms_ns;
    out.job_deadline_ns = settings.job_deadline_ms * ms_ns;
    out.drain_timeout_ns = settings.drain_timeout_ms * ms_ns;
    out.job_memory_bytes = settings.job_memory_bytes;
    out.job_result_bytes = settings.job_result_bytes;
    out.job_cpu_ms = settings.job_cpu_ms;
    out.disk_reserve_bytes = settings.disk_reserve_bytes;
    out.upload_memory_bytes = settings.upload_memory_bytes;
    out.result_cache_bytes = settings.result_cache_bytes;
    out.result_cache_ttl_ns = settings.result_cache_ttl_ms * ms_ns;
    out.quarantine_ns = settings.quarantine_ms * ms_ns;
    out.log_level = settings.log_level;
    out.worker_jobs = settings.worker_jobs;
    out.crash_budget = settings.crash_budget;
    out.crash_budget_ns = settings.crash_budget_ms * ms_ns;
    const std::string_view catalog(settings.catalog.data(), settings.catalog_bytes);
    if (catalog.empty()) {
        return out;
    }
    if (!catalog.starts_with(sqlite_scheme)) {
        return Errc::invalid_parameter;
    }
    auto path = catalog_path(catalog.substr(sqlite_scheme.size()), state_folder);
    if (!path) {
        return path.failure();
    }
    out.store = std::string(sqlite_scheme) + *path;
    return out;
}

}  // namespace sonogate::broker
