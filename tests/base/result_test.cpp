#include "base/result.hpp"

#include <memory>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::Errc;
using sonogate::Failure;
using sonogate::Parameter;
using sonogate::Result;

void a_value_comes_out_as_it_went_in(void**) {
    const Result<std::string> result(std::string("abc"));
    assert_true(static_cast<bool>(result));
    assert_string_equal(result->c_str(), "abc");
    assert_string_equal((*result).c_str(), "abc");
}

void a_value_that_cannot_be_copied_can_be_moved_out(void**) {
    Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
    const std::unique_ptr<int> out = std::move(*result);
    assert_int_equal(*out, 7);
}

void a_false_value_is_still_a_value(void**) {
    const Result<bool> result(false);
    assert_true(static_cast<bool>(result));
    assert_false(*result);
}

void a_failure_keeps_every_figure(void**) {
    const Result<int> result(Failure{.code = Errc::body_too_large,
                                     .parameter = Parameter::none,
                                     .error = 12,
                                     .limit = 100,
                                     .value = 101});
    assert_false(static_cast<bool>(result));
    assert_int_equal(result.failure().code, Errc::body_too_large);
    assert_int_equal(result.failure().error, 12);
    assert_int_equal(result.failure().limit, 100);
    assert_int_equal(result.failure().value, 101);
}

void a_bare_code_is_a_failure_without_figures(void**) {
    const Result<int> result(Errc::silent);
    assert_false(static_cast<bool>(result));
    assert_int_equal(result.failure().code, Errc::silent);
    assert_int_equal(result.failure().parameter, Parameter::none);
    assert_int_equal(result.failure().limit, 0);
}

void nothing_at_all_can_succeed_or_fail(void**) {
    const Result<void> good;
    const Result<void> bad(Errc::draining);
    const Result<void> told(sonogate::system_failure(5));
    assert_true(static_cast<bool>(good));
    assert_false(static_cast<bool>(bad));
    assert_int_equal(bad.failure().code, Errc::draining);
    assert_int_equal(told.failure().code, Errc::internal);
    assert_int_equal(told.failure().error, 5);
}

void a_refused_parameter_is_named(void**) {
    const Result<void> result(sonogate::invalid(Parameter::hop));
    assert_int_equal(result.failure().code, Errc::invalid_parameter);
    assert_int_equal(result.failure().parameter, Parameter::hop);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_value_comes_out_as_it_went_in),
        cmocka_unit_test(a_value_that_cannot_be_copied_can_be_moved_out),
        cmocka_unit_test(a_false_value_is_still_a_value),
        cmocka_unit_test(a_failure_keeps_every_figure),
        cmocka_unit_test(a_bare_code_is_a_failure_without_figures),
        cmocka_unit_test(nothing_at_all_can_succeed_or_fail),
        cmocka_unit_test(a_refused_parameter_is_named),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
