#include "base/parameter.hpp"

#include <set>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::name_of;
using sonogate::Parameter;
using sonogate::parameter_of;

void every_name_leads_back_to_its_number(void**) {
    std::set<std::string> names;
    for (std::size_t i = 1; i < sonogate::parameter_count; ++i) {
        const auto parameter = static_cast<Parameter>(i);
        assert_false(name_of(parameter).empty());
        assert_true(names.insert(std::string(name_of(parameter))).second);
        assert_int_equal(parameter_of(name_of(parameter)), parameter);
    }
}

void numbers_and_names_are_in_step(void**) {
    assert_string_equal(name_of(Parameter::start_s).data(), "start_s");
    assert_string_equal(name_of(Parameter::features).data(), "features");
    assert_string_equal(name_of(Parameter::algorithm).data(), "algorithm");
    assert_string_equal(name_of(Parameter::metadata).data(), "metadata");
    assert_string_equal(name_of(Parameter::upload_id).data(), "upload_id");
}

void an_unknown_name_is_none(void**) {
    for (const char* name : {"", "hops", "HOP", "ho", " hop", "none", "count_"}) {
        assert_int_equal(parameter_of(name), Parameter::none);
    }
    assert_int_equal(parameter_of(std::string_view("hop\0", 4)), Parameter::none);
}

void a_number_that_is_no_parameter_has_no_name(void**) {
    assert_true(name_of(Parameter::none).empty());
    assert_true(name_of(Parameter::count_).empty());
    assert_true(name_of(static_cast<Parameter>(65535)).empty());
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_name_leads_back_to_its_number),
        cmocka_unit_test(numbers_and_names_are_in_step),
        cmocka_unit_test(an_unknown_name_is_none),
        cmocka_unit_test(a_number_that_is_no_parameter_has_no_name),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
