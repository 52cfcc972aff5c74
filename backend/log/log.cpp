#include "log/log.hpp"

#include <spdlog/details/os.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "log/line_writer.hpp"

namespace sonogate::log {

namespace {

thread_local const RequestName* subject = nullptr;
std::string process = "broker";
spdlog::level::level_enum level_at_start = spdlog::level::info;

// RFC 3339, UTC, milliseconds: a worker has no time zones to read.
std::string time_of(const spdlog::log_clock::time_point& when) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch());
    const std::tm utc = spdlog::details::os::gmtime(ms.count() / 1000);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                       utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                       ms.count() % 1000);
}

std::string_view text_of(const spdlog::string_view_t& view) {
    return {view.data(), view.size()};
}

std::string text_line(const std::string& pool, const spdlog::details::log_msg& message) {
    std::string about;
    if (subject != nullptr) {
        about = "request " + subject->id + (subject->trace.empty() ? "" : " of trace ") +
                subject->trace + ": ";
    }
    return fmt::format("{} {} {}[{}] {}{}", time_of(message.time),
                       text_of(spdlog::level::to_string_view(message.level)), pool, process, about,
                       text_of(message.payload));
}

std::string json_line(const std::string& pool, const spdlog::details::log_msg& message) {
    nlohmann::ordered_json out{{"time", time_of(message.time)},
                               {"level", text_of(spdlog::level::to_string_view(message.level))},
                               {"pool", pool},
                               {"process", process}};
    if (subject != nullptr) {
        out["request_id"] = subject->id;
        if (!subject->trace.empty()) {
            out["trace_id"] = subject->trace;
        }
    }
    out["message"] = text_of(message.payload);
    // Whatever stands in a message: bytes that are no UTF-8 become U+FFFD.
    return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string line_of(const std::string& pool, Format format,
                    const spdlog::details::log_msg& message) {
    return format == Format::json ? json_line(pool, message) : text_line(pool, message);
}

// As written: with its end, and short enough for a pipe to take it whole, whatever the message.
std::string whole_line(const std::string& pool, Format format, spdlog::details::log_msg message) {
    std::string line = line_of(pool, format, message);
    for (std::size_t most = LineWriter::most_line_bytes / 2;
         line.size() >= LineWriter::most_line_bytes && most != 0; most /= 2) {
        message.payload = {message.payload.data(), std::min(message.payload.size(), most)};
        line = line_of(pool, format, message);
    }
    return line + '\n';
}

class LineFormatter final : public spdlog::formatter {
  public:
    LineFormatter(std::string pool, Format format) : pool_(std::move(pool)), format_(format) {}

    void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
        const std::string line = whole_line(pool_, format_, message);
        out.append(line.data(), line.data() + line.size());
    }
    std::unique_ptr<spdlog::formatter> clone() const override {
        return std::make_unique<LineFormatter>(pool_, format_);
    }

  private:
    std::string pool_;
    Format format_;
};

// The descriptor, not the stream: one write a line, so that lines of several processes do not mix.
class DescriptorSink final : public spdlog::sinks::base_sink<std::mutex> {
  public:
    std::uint64_t dropped() {
        const std::lock_guard lock(mutex_);
        return writer_.dropped();
    }

  protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        writer_.write({line.data(), line.size()},
                      [&](std::uint64_t count) { return told(message, count); });
    }
    void flush_() override {}

  private:
    std::string told(const spdlog::details::log_msg& because, std::uint64_t count) {
        const std::string text = fmt::format("{} lines were not written: nobody read them", count);
        const spdlog::details::log_msg message(because.time, {}, because.logger_name,
                                               spdlog::level::warn, text);
        const RequestName* const about = std::exchange(subject, nullptr);
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        subject = about;
        return {line.data(), line.size()};
    }

    LineWriter writer_{STDERR_FILENO};
};

std::shared_ptr<DescriptorSink> the_sink;

// A stream without a descriptor: a child that closes all of its descriptors keeps it.
void silence_libraries() {
    const cookie_io_functions_t nowhere{
        .read = nullptr,
        .write = [](void*, const char*, std::size_t size) { return static_cast<ssize_t>(size); },
        .seek = nullptr,
        .close = nullptr};
    if (std::FILE* const silent = ::fopencookie(nullptr, "w", nowhere)) {
        stderr = silent;
    }
}

spdlog::level::level_enum level_of(shm::LogLevel level) {
    switch (level) {
        case shm::LogLevel::debug:
            return spdlog::level::debug;
        case shm::LogLevel::info:
            return spdlog::level::info;
        case shm::LogLevel::warn:
            return spdlog::level::warn;
        case shm::LogLevel::error:
            return spdlog::level::err;
        case shm::LogLevel::unset:
        case shm::LogLevel::count_:
            break;
    }
    return level_at_start;
}

}  // namespace

void open(const Options& options) {
    the_sink = std::make_shared<DescriptorSink>();
    auto logger = std::make_shared<spdlog::logger>("sonogated", the_sink);
    logger->set_formatter(std::make_unique<LineFormatter>(options.pool, options.format));
    level_at_start = spdlog::level::from_str(options.level);
    logger->set_level(level_at_start);
    spdlog::set_default_logger(std::move(logger));
    silence_libraries();
}

std::uint64_t dropped_lines() {
    return the_sink ? the_sink->dropped() : 0;
}

void set_process(std::string name) {
    process = std::move(name);
}

void set_level(shm::LogLevel level) {
    const auto wanted = level_of(level);
    if (spdlog::get_level() != wanted) {
        spdlog::set_level(wanted);
    }
}

RequestName name_of(const shm::Text& request_id) {
    const std::size_t size = std::min<std::size_t>(request_id.size, shm::text_bytes);
    RequestName out{{request_id.data.data(), size}, {}};
    std::replace_if(
        out.id.begin(), out.id.end(), [](char c) { return c <= 0x20 || c >= 0x7f; }, '?');
    if (out.id.empty()) {
        out.id.assign(1, '-');  // GCC 12 warns of an assignment from a literal (PR 105329)
    }
    return out;
}

RequestName name_of(const shm::Submission& submission) {
    RequestName out = name_of(submission.request_id);
    const auto& trace = submission.trace_id;
    if (std::any_of(trace.begin(), trace.end(), [](std::uint8_t byte) { return byte != 0; })) {
        out.trace = fmt::format("{:02x}", fmt::join(trace, ""));
    }
    return out;
}

Subject::Subject(const RequestName& request) noexcept {
    subject = &request;
}

Subject::~Subject() {
    subject = nullptr;
}

std::string line(const Options& options, spdlog::level::level_enum level,
                 std::string_view message) {
    const spdlog::details::log_msg entry("sonogated", level, {message.data(), message.size()});
    std::string out = whole_line(options.pool, options.format, entry);
    out.pop_back();
    return out;
}

}  // namespace sonogate::log
