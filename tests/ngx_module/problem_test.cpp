#include "ngx_module/problem.hpp"

#include <nlohmann/json.hpp>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using namespace sonogate::ngx_module;
using nlohmann::json;

json written(const ProblemText& problem) {
    std::array<char, max_problem_bytes> room{};
    TextBuffer out(room);
    write_problem(problem, out);
    assert_true(out.fits());
    return json::parse(out.view());
}

void every_code_is_a_problem_of_the_contract(void**) {
    for (std::size_t i = 1; i < errc_count; ++i) {
        const auto code = static_cast<Errc>(i);
        const json problem = written({{.code = code}, "id", 0});
        assert_int_equal(problem.at("status").get<int>(), problem_of(code).status);
        assert_true(problem.at("type") == "/problems/" + std::string(problem_of(code).type));
        assert_false(problem.at("title").get<std::string>().empty());
        assert_false(problem.at("detail").get<std::string>().empty());
        assert_true(problem.at("request_id") == "id");
        assert_int_equal(problem.size(), 5);
    }
}

void limits_values_and_parameters_are_told(void**) {
    const json problem = written({{.code = Errc::invalid_parameter,
                                   .parameter = Parameter::fft_size,
                                   .limit = 1'048'576,
                                   .value = ~std::uint64_t{0}},
                                  "id",
                                  7});
    assert_true(problem.at("parameter") == "fft_size");
    assert_int_equal(problem.at("limit").get<std::uint64_t>(), 1'048'576);
    assert_true(problem.at("value").get<std::uint64_t>() == ~std::uint64_t{0});
    assert_int_equal(problem.at("retry_after_s").get<int>(), 7);
}

void the_worst_request_id_still_fits(void**) {
    const std::string id(128, '"');
    assert_true(written({{.code = Errc::missing_audio,
                          .parameter = Parameter::max_false_positive,
                          .limit = ~std::uint64_t{0},
                          .value = ~std::uint64_t{0}},
                         id,
                         ~std::uint32_t{0}})
                    .at("request_id") == id);
}

void statuses_of_nginx_have_the_type_of_the_contract_where_there_is_one(void**) {
    for (const int status : {400, 401, 403, 404, 405, 408, 413, 421, 429, 500, 503, 504}) {
        assert_int_equal(problem_of(errc_of_status(static_cast<std::uint16_t>(status))).status,
                         status);
    }
    assert_int_equal(errc_of_status(414), Errc::ok);
    std::array<char, max_problem_bytes> room{};
    TextBuffer out(room);
    write_plain_problem(414, "id", out);
    assert_true(json::parse(out.view()).at("type") == "about:blank");
}

void json_strings_are_escaped(void**) {
    std::array<char, 64> room{};
    TextBuffer out(room);
    out.json_string(std::string_view("\"\\0\x1f\x7f\xc3\xbc", 7));
    assert_true(json::parse(out.view()) == std::string("\"\\0\x1f\x7f\xc3\xbc", 7));
}

void what_does_not_fit_is_left_out_and_told(void**) {
    std::array<char, 4> room{};
    TextBuffer out(room);
    out.text("abc").text("de");
    assert_false(out.fits());
    assert_true(out.view() == "abc");
}

void milliseconds_have_three_decimals(void**) {
    std::array<char, 64> room{};
    TextBuffer out(room);
    out.milliseconds(0).text(" ").milliseconds(12'045).text(" ").milliseconds(999);
    assert_true(out.view() == "0.000 12.045 0.999");
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_a_problem_of_the_contract),
        cmocka_unit_test(limits_values_and_parameters_are_told),
        cmocka_unit_test(the_worst_request_id_still_fits),
        cmocka_unit_test(statuses_of_nginx_have_the_type_of_the_contract_where_there_is_one),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(what_does_not_fit_is_left_out_and_told),
        cmocka_unit_test(milliseconds_have_three_decimals),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
