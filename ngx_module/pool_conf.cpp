#include "ngx_module/pool_conf.hpp"

#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <new>
#include <span>

namespace sonogate::ngx_module {

namespace {

constexpr std::uint64_t longest_deadline_ms = 7ULL * 24 * 3600 * 1000;
constexpr std::uint32_t default_cache_ttl_ms = 3'600'000;

struct Setting {
    std::string_view name;
    ngx_uint_t most_arguments;
    // Null, or why not.
    const char* (*set)(ngx_conf_t* cf, Pool& pool, std::span<const ngx_str_t> arguments);
};

// What a block is while it is read.
struct Reading {
    Pool* pool;
    MainConf* main;
    std::uint32_t seen;  // a bit a setting
};

bool read_number(const ngx_str_t& text, std::uint64_t most, std::uint32_t& out) noexcept {
    const ngx_int_t n = ngx_atoi(text.data, text.len);
    if (n <= 0 || static_cast<std::uint64_t>(n) > most) {
        return false;
    }
    out = static_cast<std::uint32_t>(n);
    return true;
}

bool read_time(ngx_str_t text, std::uint32_t& out_ms) noexcept {
    const ngx_int_t ms = ngx_parse_time(&text, 0);
    if (ms <= 0 || static_cast<std::uint64_t>(ms) > longest_deadline_ms) {
        return false;
    }
    out_ms = static_cast<std::uint32_t>(ms);
    return true;
}

// `name` with its `=`.
bool read_named_time(const ngx_str_t& text, std::string_view name, std::uint32_t& out_ms) noexcept {
    return view(text).starts_with(name) &&
           read_time({text.len - name.size(), text.data + name.size()}, out_ms);
}

bool read_size(ngx_str_t text, std::uint64_t least, std::uint64_t& out) noexcept {
    const off_t size = ngx_parse_offset(&text);
    if (size < 0 || static_cast<std::uint64_t>(size) < least ||
        static_cast<std::uint64_t>(size) > shm::max_upload_bytes) {
        return false;
    }
    out = static_cast<std::uint64_t>(size);
    return true;
}

const char* set_socket(ngx_conf_t* cf, Pool& pool, std::span<const ngx_str_t> arguments) {
    pool.socket = arguments[0];
    if (pool.socket.len == 0 || ngx_conf_full_name(cf->cycle, &pool.socket, 0) != NGX_OK) {
        return "is not a path";
    }
    if (pool.socket.len >= sizeof(sockaddr_un::sun_path)) {
        return "is longer than a unix socket's path may be (107 bytes, the prefix included)";
    }
    return nullptr;
}

const char* set_workers(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    if (view(arguments[0]) == "auto") {
        pool.settings.workers = 0;
        return nullptr;
    }
    return read_number(arguments[0], 1024, pool.settings.workers)
               ? nullptr
               : "must be auto or a number from 1 to 1024";
}

const char* set_queue(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    if (!read_number(arguments[0], 1'000'000, pool.settings.queue_jobs)) {
        return "must be a number of jobs from 1 to 1000000";
    }
    return arguments.size() == 1 ||
                   read_named_time(arguments[1], "timeout=", pool.settings.queue_timeout_ms)
               ? nullptr
               : "takes timeout= and a time above zero after the number";
}

const char* set_deadline(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    return read_time(arguments[0], pool.settings.job_deadline_ms)
               ? nullptr
               : "must be a time above zero and of 7 days at the most";
}

const char* set_drain_timeout(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    return read_time(arguments[0], pool.settings.drain_timeout_ms)
               ? nullptr
               : "must be a time above zero and of 7 days at the most";
}

const char* set_quarantine(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    if (view(arguments[0]) == "off") {
        pool.settings.quarantine_ms = 0;
        return nullptr;
    }
    return read_time(arguments[0], pool.settings.quarantine_ms)
               ? nullptr
               : "must be off or a time above zero and of 7 days at the most";
}

// `off`, or N/TIME.
const char* set_crash_budget(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    const ngx_str_t& text = arguments[0];
    if (view(text) == "off") {
        pool.settings.crash_budget = 0;
        return nullptr;
    }
    const std::size_t slash = std::min(view(text).find('/'), text.len);
    const std::size_t rest = std::min(slash + 1, text.len);
    return read_number({slash, text.data}, 1'000'000, pool.settings.crash_budget) &&
                   read_time({text.len - rest, text.data + rest}, pool.settings.crash_budget_ms)
               ? nullptr
               : "must be off or a number of workers, a slash and a time above zero";
}

const char* set_log_level(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    constexpr std::array<std::string_view, 4> names = {"debug", "info", "warn", "error"};
    const auto found = std::find(names.begin(), names.end(), view(arguments[0]));
    if (found == names.end()) {
        return "must be debug, info, warn or error";
    }
    pool.settings.log_level = static_cast<shm::LogLevel>(found - names.begin() + 1);
    return nullptr;
}

const char* set_worker_jobs(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    return read_number(arguments[0], 1'000'000'000, pool.settings.worker_jobs)
               ? nullptr
               : "must be a number of jobs from 1 to 1000000000";
}

const char* set_job_memory(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    return read_size(arguments[0], 16U << 20U, pool.settings.job_memory_bytes)
               ? nullptr
               : "must be a size of at least 16m";
}

const char* set_job_cpu(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    return read_time(arguments[0], pool.settings.job_cpu_ms)
               ? nullptr
               : "must be a time above zero and of 7 days at the most";
}

const char* set_job_result(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    return read_size(arguments[0], 64U << 10U, pool.settings.job_result_bytes)
               ? nullptr
               : "must be a size of at least 64k";
}

const char* set_disk_reserve(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    return read_size(arguments[0], 0, pool.settings.disk_reserve_bytes) ? nullptr
                                                                        : "must be a size";
}

const char* set_upload_memory(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    return read_size(arguments[0], 1U << 20U, pool.settings.upload_memory_bytes)
               ? nullptr
               : "must be a size of at least 1m";
}

const char* set_result_cache(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    if (!read_size(arguments[0], 1U << 20U, pool.settings.result_cache_bytes)) {
        return "must be a size of at least 1m";
    }
    pool.settings.result_cache_ttl_ms = default_cache_ttl_ms;
    if (arguments.size() == 1) {
        return nullptr;
    }
    return read_named_time(arguments[1], "ttl=", pool.settings.result_cache_ttl_ms)
               ? nullptr
               : "takes ttl= and a time above zero, of 7 days at the most, after the size";
}

const char* set_catalog(ngx_conf_t*, Pool& pool, std::span<const ngx_str_t> arguments) {
    constexpr std::string_view scheme = "sqlite:";
    const std::string_view url = view(arguments[0]);
    if (!url.starts_with(scheme) || url.size() == scheme.size()) {
        return "must be sqlite:PATH";
    }
    if (url.size() > shm::path_bytes) {
        return "is too long (1024 bytes at the most)";
    }
    pool.settings.catalog_bytes = static_cast<std::uint16_t>(url.size());
    std::copy(url.begin(), url.end(), pool.settings.catalog.begin());
    return nullptr;
}

constexpr auto settings = std::to_array<Setting>({
    {"socket", 1, set_socket},
    {"workers", 1, set_workers},
    {"worker_jobs", 1, set_worker_jobs},
    {"queue", 2, set_queue},
    {"job_deadline", 1, set_deadline},
    {"drain_timeout", 1, set_drain_timeout},
    {"quarantine", 1, set_quarantine},
    {"crash_budget", 1, set_crash_budget},
    {"log_level", 1, set_log_level},
    {"job_cpu", 1, set_job_cpu},
    {"job_memory", 1, set_job_memory},
    {"job_result", 1, set_job_result},
    {"disk_reserve", 1, set_disk_reserve},
    {"upload_memory", 1, set_upload_memory},
    {"result_cache", 2, set_result_cache},
    {"catalog", 1, set_catalog},
});
static_assert(settings.size() <= 32, "a bit of Reading::seen each");

char* refuse(ngx_conf_t* cf, const ngx_str_t& name, const char* why) noexcept {
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" %s", &name, why);
    return static_cast<char*>(NGX_CONF_ERROR);
}

// One line of the block.
char* set_in_pool(ngx_conf_t* cf, ngx_command_t*, void* conf) {
    auto& reading = *static_cast<Reading*>(conf);
    auto* words = static_cast<ngx_str_t*>(cf->args->elts);
    for (std::size_t i = 0; i < settings.size(); ++i) {
        const Setting& setting = settings[i];
        if (view(words[0]) != setting.name) {
            continue;
        }
        if ((reading.seen & (1U << i)) != 0) {
            return refuse(cf, words[0], "is there twice");
        }
        reading.seen |= 1U << i;
        const std::span<const ngx_str_t> arguments(words + 1, cf->args->nelts - 1);
        if (arguments.empty() || arguments.size() > setting.most_arguments) {
            return refuse(cf, words[0], "has a wrong number of arguments");
        }
        const char* why = setting.set(cf, *reading.pool, arguments);
        return why == nullptr ? NGX_CONF_OK : refuse(cf, words[0], why);
    }
    return refuse(cf, words[0], "is not a setting of sonogate_pool");
}

void set_defaults(Pool& pool) noexcept {
    timeval now{};
    gettimeofday(&now, nullptr);
    pool.settings.stamp = static_cast<std::uint64_t>(now.tv_sec) * 1000U +
                          static_cast<std::uint64_t>(now.tv_usec) / 1000U;
    constexpr std::string_view catalog = "sqlite:catalog.db";
    pool.settings.catalog_bytes = catalog.size();
    std::copy(catalog.begin(), catalog.end(), pool.settings.catalog.begin());
}

// What only the whole block shows; null, or why not.
const char* check(const Pool& pool, const MainConf& main) noexcept {
    if (pool.socket.len == 0) {
        return "needs a socket";
    }
    auto* const* pools = static_cast<Pool* const*>(main.pools.elts);
    for (ngx_uint_t i = 0; i < main.pools.nelts; ++i) {
        if (view(pools[i]->socket) == view(pool.socket)) {
            return "has the socket of another pool";
        }
    }
    return nullptr;
}

}  // namespace

Pool* find_pool(const MainConf& main, std::string_view name) noexcept {
    auto* const* pools = static_cast<Pool* const*>(main.pools.elts);
    for (ngx_uint_t i = 0; i < main.pools.nelts; ++i) {
        if (view(pools[i]->name) == name) {
            return pools[i];
        }
    }
    return nullptr;
}

char* set_pool(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& main = *static_cast<MainConf*>(conf);
    const ngx_str_t name = static_cast<ngx_str_t*>(cf->args->elts)[1];
    if (name.len == 0) {
        return refuse(cf, name, "is not a pool's name");
    }
    if (find_pool(main, view(name)) != nullptr) {
        return refuse(cf, name, "is the name of another sonogate_pool");
    }
    void* memory = ngx_palloc(cf->pool, sizeof(Pool));
    if (memory == nullptr) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    Pool* pool = new (memory) Pool;
    pool->name = name;
    set_defaults(*pool);

    Reading reading{pool, &main, 0};
    const ngx_conf_t saved = *cf;
    cf->handler = set_in_pool;
    // cppcheck-suppress autoVariables ; `saved` is put back before `reading` ends
    cf->handler_conf = reinterpret_cast<char*>(&reading);
    char* parsed = ngx_conf_parse(cf, nullptr);
    *cf = saved;
    if (parsed != NGX_CONF_OK) {
        return parsed;
    }
    if (const char* why = check(*pool, main); why != nullptr) {
        return refuse(cf, name, why);
    }
    auto* place = static_cast<Pool**>(ngx_array_push(&main.pools));
    if (place == nullptr) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    *place = pool;
    return NGX_CONF_OK;
}

}  // namespace sonogate::ngx_module
