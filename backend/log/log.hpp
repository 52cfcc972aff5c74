// The daemon's log: text for people or JSON for machines, one line a write.
//
// For: every process of the daemon; all share standard error. A line that concerns a request is
// written by about(), which names it; nothing else that a client sent is ever logged. Not for: what
// nginx logs (conf/log_json.conf). Nobody waits for a reader of the log: line_writer.hpp.
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>
#include <utility>

#include "shm/layout.hpp"

namespace sonogate::log {

enum class Format : std::uint8_t { text, json };

struct Options {
    std::string pool;
    Format format = Format::text;
    std::string level = "info";
};

// Sets spdlog's default logger up, for this process and those that it forks. Libraries that print
// to standard error (libmpg123 does) are silent from here on: their lines are neither text nor
// JSON of ours.
void open(const Options& options);

// Lines of this process that could not be written.
std::uint64_t dropped_lines();

// What this process is from now on, in every line: "worker 3". Until then: "broker".
void set_process(std::string name);

// Logs from that level on; `unset`: what open() was told.
void set_level(shm::LogLevel level);

// How a request is known: its id, and the trace that it belongs to, 32 hex digits or none.
struct RequestName {
    std::string id;
    std::string trace;
};

// From what crossed shared memory: bytes that are not visible ASCII are replaced.
RequestName name_of(const shm::Text& request_id);
RequestName name_of(const shm::Submission& submission);

// The request that this thread's next line is about, while it lives.
class Subject {
  public:
    explicit Subject(const RequestName& request) noexcept;
    ~Subject();
    Subject(const Subject&) = delete;
    Subject& operator=(const Subject&) = delete;
};

template <typename Who, typename... Arguments>
void about(const Who& request, spdlog::level::level_enum level,
           spdlog::format_string_t<Arguments...> format, Arguments&&... arguments) {
    if (!spdlog::should_log(level)) {
        return;
    }
    const RequestName name = name_of(request);
    const Subject subject(name);
    spdlog::log(level, format, std::forward<Arguments>(arguments)...);
}

// One line as it is written, without its end. For tests.
std::string line(const Options& options, spdlog::level::level_enum level, std::string_view message);

}  // namespace sonogate::log
