#include "log/log.hpp"

#include <regex.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>

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
        cmocka_unit_test(the_level_follows_and_comes_back),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
