// Threads take one file after the other: hash it, ask whether its track is there, send it. What
// the service says for now (429, 503, no connection) is waited for; what it says of a file (413,
// 415, 422 …) is reported; what it says of us (401, 403) ends all.
#include "enrol/run.hpp"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "digest/sha256.hpp"
#include "enrol/client.hpp"
#include "enrol/files.hpp"
#include "enrol/progress.hpp"
#include "enrol/tags.hpp"

namespace sonogate::enrol {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t piece_bytes = 1U << 20U;
constexpr milliseconds redraw_each(200);
constexpr seconds line_each(10);                // where there is no terminal
constexpr std::uint64_t patience_ms = 300'000;  // with a service that does not answer or is full
constexpr std::uint32_t longest_pause_s = 10;   // where it does not say how long

struct Outcome {
    enum class Kind : std::uint8_t { enrolled, there, failed } kind = Kind::failed;
    std::string why;
    double audio_s = 0;
};

Outcome failed(std::string why) {
    return {.kind = Outcome::Kind::failed, .why = std::move(why)};
}

// A file that stays the same one from its hash to its last byte sent.
struct HashedFile {
    UniqueFd file;
    std::uint64_t bytes = 0;
    std::string sha256;
};

// Empty `file`: errno says why.
HashedFile open_hashed(const std::string& path) {
    HashedFile out{.file = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)),
                   .sha256 = {}};
    struct stat status {};
    if (!out.file || ::fstat(out.file.get(), &status) != 0) {
        return {};
    }
    if (!S_ISREG(status.st_mode)) {
        errno = EINVAL;
        return {};
    }
    digest::Sha256 digest;
    std::vector<std::byte> piece(piece_bytes);
    for (;;) {
        const ssize_t got =
            ::pread(out.file.get(), piece.data(), piece.size(), static_cast<off_t>(out.bytes));
        if (got < 0) {
            return {};
        }
        if (got == 0) {
            break;
        }
        digest.add(Bytes(piece).first(static_cast<std::size_t>(got)));
        out.bytes += static_cast<std::uint64_t>(got);
    }
    out.sha256 = digest.finish();
    return out;
}

// The problem's type, and its detail where there is one.
std::string reason_of(const Reply& reply) {
    if (reply.status == 0) {
        return reply.error;
    }
    const auto body = nlohmann::json::parse(reply.body, nullptr, false);
    const auto member = [&](const char* name) {
        return body.is_object() && body.contains(name) && body[name].is_string()
                   ? body[name].get<std::string>()
                   : std::string();
    };
    constexpr std::string_view prefix = "/problems/";
    std::string type = member("type");
    type = type.starts_with(prefix) ? type.substr(prefix.size()) : "no problem of sonogate";
    const std::string detail = member("detail");
    return fmt::format("{} {}{}{}", reply.status, type, detail.empty() ? "" : ": ", detail);
}

bool is_for_now(long status) noexcept {
    return status == 0 || status == 429 || status == 500 || status == 502 || status == 503 ||
           status == 504;
}

class Enrolment {
  public:
    Enrolment(const Options& options, std::string key, std::vector<std::string> paths)
        : options_(options), key_(std::move(key)), paths_(std::move(paths)) {
        figures_.files = paths_.size();
        for (const std::string& path : paths_) {
            sizes_.push_back(size_of(path));
            figures_.bytes += sizes_.back();
        }
    }

    int run();

  private:
    static std::uint64_t size_of(const std::string& path) {
        struct stat status {};
        return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
    }
    void work();
    Outcome enrol_one(Client& client, const std::string& path);
    template <typename Ask>
    Reply ask_patiently(Ask ask);
    void note(std::size_t file, const Outcome& outcome);
    void show_until_done();
    void stop(const std::string& why);
    bool pause(std::uint32_t pause_s);

    const Options& options_;
    const std::string key_;
    const std::vector<std::string> paths_;
    std::vector<std::uint64_t> sizes_;
    std::atomic<std::size_t> next_ = 0;
    const std::uint64_t began_ms_ = now_ms();

    std::mutex mutex_;  // all below
    std::condition_variable changed_;
    Figures figures_;
    unsigned working_ = 0;
    std::string stopped_;  // why; empty: it is not
};

// Until there is an answer that will not be another one soon.
template <typename Ask>
Reply Enrolment::ask_patiently(Ask ask) {
    const std::uint64_t began_ms = now_ms();
    for (std::uint32_t pause_s = 1;; pause_s = std::min(2 * pause_s, longest_pause_s)) {
        Reply reply = ask();
        if (reply.status == 401 || reply.status == 403) {
            stop(reason_of(reply));
        }
        const bool patient = reply.status == 429 || now_ms() - began_ms < patience_ms;
        if (!is_for_now(reply.status) || !patient ||
            !pause(reply.retry_after_s != 0 ? reply.retry_after_s : pause_s)) {
            return reply;
        }
    }
}

// False: all is to end.
bool Enrolment::pause(std::uint32_t pause_s) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, seconds(pause_s), [this] { return !stopped_.empty(); });
}

Outcome Enrolment::enrol_one(Client& client, const std::string& path) {
    const HashedFile source = open_hashed(path);
    if (!source.file) {
        return failed(std::strerror(errno));
    }
    const std::string there = "/v1/tracks/" + source.sha256;
    if (const Reply reply = ask_patiently([&] { return client.get(there); }); reply.status != 404) {
        const auto track = nlohmann::json::parse(reply.body, nullptr, false);
        return reply.status == 200 && track.is_object() &&
                       track.value("track_id", "") == source.sha256
                   ? Outcome{.kind = Outcome::Kind::there, .why = {}}
                   : failed(reason_of(reply));
    }
    const catalog::Labels tags = read_tags(path);
    Client::Query query = {{"track_id", source.sha256}, {"title", tags.title}};
    for (const auto& [name, value] :
         {std::pair{"artist", &tags.artist}, {"album", &tags.album}, {"isrc", &tags.isrc}}) {
        if (!value->empty()) {
            query.emplace_back(name, *value);
        }
    }
    const Reply reply = ask_patiently(
        [&] { return client.post("/v1/tracks", query, source.file.get(), source.bytes); });
    if (reply.status != 200 && reply.status != 201) {
        return failed(reason_of(reply));
    }
    const auto track = nlohmann::json::parse(reply.body, nullptr, false);
    if (!track.is_object() || track.value("sha256", "") != source.sha256) {
        return failed("changed while it was read, or answered by something else than sonogate");
    }
    return {.kind = reply.status == 201 ? Outcome::Kind::enrolled : Outcome::Kind::there,
            .why = {},
            .audio_s = track.value("duration_s", 0.0)};
}

void Enrolment::work() {
    try {
        Client client(options_.url, key_);
        for (std::size_t i = next_++; i < paths_.size() && pause(0); i = next_++) {
            note(i, enrol_one(client, paths_[i]));
        }
    } catch (const std::exception& error) {
        stop(error.what());
    }
    const std::lock_guard lock(mutex_);
    --working_;
    changed_.notify_all();
}

void Enrolment::stop(const std::string& why) {
    const std::lock_guard lock(mutex_);
    stopped_ = stopped_.empty() ? why : stopped_;
    changed_.notify_all();
}

void Enrolment::note(std::size_t file, const Outcome& outcome) {
    const std::lock_guard lock(mutex_);
    if (outcome.kind == Outcome::Kind::failed && !stopped_.empty()) {
        return;  // it is not the file's fault
    }
    figures_.done_bytes += sizes_[file];
    switch (outcome.kind) {
        case Outcome::Kind::enrolled:
            ++figures_.enrolled;
            figures_.sent_bytes += sizes_[file];
            figures_.audio_s += outcome.audio_s;
            break;
        case Outcome::Kind::there:
            ++figures_.there;
            break;
        case Outcome::Kind::failed:
            ++figures_.failed;
            fmt::print("{}\t{}\n", paths_[file], outcome.why);
            std::fflush(stdout);
            break;
    }
}

void Enrolment::show_until_done() {
    const bool terminal = ::isatty(STDERR_FILENO) == 1;
    std::unique_lock lock(mutex_);
    for (bool done = false; !done;) {
        done = changed_.wait_for(lock, terminal ? redraw_each : milliseconds(line_each),
                                 [this] { return working_ == 0; });
        figures_.elapsed_s = static_cast<double>(now_ms() - began_ms_) / 1000;
        if (terminal) {
            fmt::print(stderr, "\r\x1b[K{}{}", progress_line(figures_), done ? "\n" : "");
        } else if (!done) {
            fmt::print(stderr, "{}\n", progress_line(figures_));
        }
    }
}

int Enrolment::run() {
    const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    working_ = options_.at_once == 0 ? cores : options_.at_once;
    std::vector<std::thread> threads;
    for (unsigned i = working_; i > 0; --i) {
        threads.emplace_back([this] { work(); });
    }
    show_until_done();
    for (std::thread& thread : threads) {
        thread.join();
    }
    fmt::print(stderr, "{} enrolled, {} already there, {} failed, {:.1f} s", figures_.enrolled,
               figures_.there, figures_.failed, figures_.elapsed_s);
    if (figures_.enrolled > 0 && figures_.elapsed_s > 0) {
        fmt::print(stderr, "; {:.0f} minutes of audio, {:.0f} x real time", figures_.audio_s / 60,
                   figures_.audio_s / figures_.elapsed_s);
    }
    fmt::print(stderr, "\n");
    if (!stopped_.empty()) {
        fmt::print(stderr, "sonogated enrol: stopped, since the service says: {}\n", stopped_);
        return 2;
    }
    return figures_.failed == 0 ? 0 : 1;
}

// nullopt: it cannot be read.
std::optional<std::string> read_key(const std::string& file) {
    if (file.empty()) {
        // Flawfinder: ignore (a key of the user's own, sent as it is)
        const char* const set = std::getenv("SONOGATE_KEY");
        return set == nullptr ? "" : set;
    }
    std::ifstream in(file);
    std::string key;
    in >> key;
    return key.empty() ? std::nullopt : std::optional(key);
}

}  // namespace

int enrol(const Options& options) {
    const auto key = read_key(options.key_file);
    if (!key) {
        fmt::print(stderr, "sonogated enrol: {}: holds no key\n", options.key_file);
        return 2;
    }
    Files files = find_files(options.sources);
    for (const std::string& failure : files.failures) {
        fmt::print(stderr, "sonogated enrol: {}\n", failure);
    }
    if (files.left_out > 0) {
        fmt::print(stderr, "{} files are left out: their names are not those of audio\n",
                   files.left_out);
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fmt::print(stderr, "sonogated enrol: libcurl does not begin\n");
        return 2;
    }
    const int status = Enrolment(options, *key, std::move(files.paths)).run();
    curl_global_cleanup();
    return status == 0 && !files.failures.empty() ? 1 : status;
}

}  // namespace sonogate::enrol
