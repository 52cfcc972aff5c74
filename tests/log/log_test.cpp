#include "log/log.hpp"

#include <fcntl.h>
#include <regex.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "base/unique_fd.hpp"
#include "log/line_writer.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using nlohmann::json;

namespace {

shm::Submission asked_by(std::string_view id) {
    shm::Submission out;
    out.request_id.size =
        static_cast<std::uint16_t>(id.copy(out.request_id.data.data(), shm::text_bytes));
    return out;
}

std::string line_of(log::Format format, std::string_view message) {
    return log::line({.pool = "ma\"in", .format = format}, spdlog::level::warn, message);
}

// By POSIX: GCC 12 finds std::regex uninitialised where it is sanitized.
bool is_time(const std::string& text) {
    regex_t pattern;
    assert_int_equal(
        ::regcomp(&pattern, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
                  REG_EXTENDED | REG_NOSUB),
        0);
    const bool is = ::regexec(&pattern, text.c_str(), 0, nullptr, 0) == 0;
    ::regfree(&pattern);
    return is;
}

void a_json_line_has_its_members(void**) {
    const json line = json::parse(line_of(log::Format::json, "hello"));
    assert_string_equal(line.at("level").get<std::string>().c_str(), "warning");
    assert_string_equal(line.at("pool").get<std::string>().c_str(), "ma\"in");
    assert_string_equal(line.at("process").get<std::string>().c_str(), "broker");
    assert_string_equal(line.at("message").get<std::string>().c_str(), "hello");
    assert_true(is_time(line.at("time").get<std::string>()));
    assert_false(line.contains("request_id"));
}

void any_bytes_stay_one_line_of_json(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    for (int i = 0; i < 2000; ++i) {
        std::string message(random() % 40, '\0');
        for (char& c : message) {
            c = static_cast<char>(random());
        }
        const std::string line = line_of(log::Format::json, message);
        assert_true(line.find('\n') == std::string::npos);
        assert_true(json::parse(line).at("message").is_string());
    }
    const std::string quotes = "\"} {\"level\":\"x\"\n\t\\";
    assert_true(json::parse(line_of(log::Format::json, quotes)).at("message") == quotes);
}

void a_line_about_a_request_names_it(void**) {
    shm::Submission asked = asked_by("id-1");
    for (std::uint8_t i = 0; i < 16; ++i) {
        asked.trace_id[i] = i;
    }
    const log::RequestName name = log::name_of(asked);
    const log::Subject subject(name);
    const json line = json::parse(line_of(log::Format::json, "late"));
    assert_true(line.at("request_id") == "id-1");
    assert_true(line.at("trace_id") == "000102030405060708090a0b0c0d0e0f");
    assert_true(line_of(log::Format::text, "late")
                    .ends_with("request id-1 of trace 000102030405060708090a0b0c0d0e0f: late"));
}

void a_request_id_forges_no_line(void**) {
    assert_true(log::name_of(asked_by("a b\nc\xff")).id == "a?b?c?");
    assert_true(log::name_of(asked_by("")).id == "-");
    shm::Text lie;
    lie.size = 60000;
    assert_int_equal(log::name_of(lie).id.size(), shm::text_bytes);
}

std::string read_all(int fd) {
    std::string out(1U << 20U, '\0');
    const ssize_t n = ::read(fd, out.data(), out.size());
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0U);
    return out;
}

// Writes until nothing goes in any more, then once more when all was read.
void drops_and_tells(int read_end, int write_end) {
    log::LineWriter writer(write_end);
    const std::string line = std::string(99, 'x') + '\n';
    const auto told = [&](std::uint64_t count) {  // as long, so that it does not fit either
        return (std::to_string(count) + " lost" + line).substr(0, line.size());
    };
    while (writer.dropped() == 0) {
        writer.write(line, told);
    }
    writer.write(line, told);
    writer.write(line, told);
    assert_int_equal(writer.dropped(), 3);
    for (std::string part = read_all(read_end); !part.empty(); part = read_all(read_end)) {
        assert_int_equal(part.size() % line.size(), 0);  // no half line
    }
    writer.write(line, told);
    writer.write(line, told);
    assert_string_equal(read_all(read_end).c_str(), (told(3) + line + line).c_str());
    assert_int_equal(writer.dropped(), 3);
}

void what_does_not_fit_is_dropped_and_told(void**) {
    std::array<int, 2> pipe{-1, -1};
    assert_int_equal(::pipe(pipe.data()), 0);
    ::fcntl(pipe[0], F_SETFL, O_NONBLOCK);
    const UniqueFd theirs(::dup(pipe[1]));
    drops_and_tells(pipe[0], pipe[1]);
    assert_int_equal(::fcntl(theirs.get(), F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(::fcntl(pipe[1], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    std::array<int, 2> socket{-1, -1};
    assert_int_equal(::socketpair(AF_UNIX, SOCK_STREAM, 0, socket.data()), 0);
    ::fcntl(socket[0], F_SETFL, O_NONBLOCK);
    drops_and_tells(socket[0], socket[1]);
    for (const int fd : {pipe[0], pipe[1], socket[0], socket[1]}) {
        ::close(fd);
    }
}

// The daemon's user is seldom the one who made the pipe.
void a_pipe_of_another_user_is_not_waited_for(void**) {
    std::array<int, 2> pipe{-1, -1};
    assert_int_equal(::pipe(pipe.data()), 0);
    ::fcntl(pipe[0], F_SETFL, O_NONBLOCK);
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        const bool other = ::setgid(65534) == 0 && ::setuid(65534) == 0;
        drops_and_tells(pipe[0], pipe[1]);
        ::_exit(other && (::fcntl(pipe[1], F_GETFL) & O_NONBLOCK) != 0 ? 1 : 0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    ::close(pipe[0]);
    ::close(pipe[1]);
}

void a_line_is_never_longer_than_a_pipe_takes_at_once(void**) {
    for (const auto format : {log::Format::text, log::Format::json}) {
        for (const char c : {'x', '\x01', '"', '\xff'}) {
            const std::string line = line_of(format, std::string(100'000, c));
            assert_in_range(line.size(), 500, log::LineWriter::most_line_bytes - 1);
        }
    }
    assert_true(json::parse(line_of(log::Format::json, std::string(9999, '"'))).is_object());
}

void the_level_follows_and_comes_back(void**) {
    log::open({.pool = "main", .level = "warn"});
    assert_int_equal(spdlog::get_level(), spdlog::level::warn);
    log::set_level(shm::LogLevel::debug);
    assert_int_equal(spdlog::get_level(), spdlog::level::debug);
    log::set_level(static_cast<shm::LogLevel>(77));
    assert_int_equal(spdlog::get_level(), spdlog::level::warn);
    log::set_level(shm::LogLevel::error);
    log::set_level(shm::LogLevel::unset);
    assert_int_equal(spdlog::get_level(), spdlog::level::warn);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_json_line_has_its_members),
        cmocka_unit_test(any_bytes_stay_one_line_of_json),
        cmocka_unit_test(a_line_about_a_request_names_it),
        cmocka_unit_test(a_request_id_forges_no_line),
        cmocka_unit_test(what_does_not_fit_is_dropped_and_told),
        cmocka_unit_test(a_pipe_of_another_user_is_not_waited_for),
        cmocka_unit_test(a_line_is_never_longer_than_a_pipe_takes_at_once),
        cmocka_unit_test(the_level_follows_and_comes_back),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
