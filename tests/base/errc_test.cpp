#include "base/errc.hpp"

#include <map>
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

using sonogate::Errc;
using sonogate::problem_of;

// The table under "Errors" of the HTTP contract, typed again: the two must agree.
const std::map<std::string, int> contract = {{"malformed-request", 400},
                                             {"malformed-multipart", 400},
                                             {"malformed-json", 400},
                                             {"missing-audio", 400},
                                             {"invalid-parameter", 400},
                                             {"unauthenticated", 401},
                                             {"forbidden", 403},
                                             {"origin-not-allowed", 403},
                                             {"not-found", 404},
                                             {"method-not-allowed", 405},
                                             {"track-exists", 409},
                                             {"upload-offset", 409},
                                             {"upload-timeout", 408},
                                             {"body-too-large", 413},
                                             {"audio-too-long", 413},
                                             {"unsupported-format", 415},
                                             {"unknown-host", 421},
                                             {"undecodable", 422},
                                             {"too-short", 422},
                                             {"silent", 422},
                                             {"job-too-large", 422},
                                             {"quarantined", 422},
                                             {"rate-limited", 429},
                                             {"internal", 500},
                                             {"worker-crashed", 502},
                                             {"overloaded", 503},
                                             {"concurrency-limited", 503},
                                             {"backend-unavailable", 503},
                                             {"draining", 503},
                                             {"deadline-exceeded", 504},
                                             {"insufficient-storage", 507}};

void every_code_has_the_status_and_type_of_the_contract(void**) {
    std::set<std::string> seen;
    for (std::size_t i = 1; i < sonogate::errc_count; ++i) {
        const auto code = static_cast<Errc>(i);
        if (code == Errc::cancelled) {
            continue;
        }
        const auto& problem = problem_of(code);
        const auto entry = contract.find(std::string(problem.type));
        assert_true(entry != contract.end());
        assert_int_equal(problem.status, entry->second);
        assert_true(seen.insert(entry->first).second);
    }
    assert_int_equal(seen.size(), contract.size());
}

void codes_and_rows_are_in_step(void**) {
    assert_string_equal(problem_of(Errc::invalid_parameter).type.data(), "invalid-parameter");
    assert_string_equal(problem_of(Errc::unsupported_format).type.data(), "unsupported-format");
    assert_string_equal(problem_of(Errc::worker_crashed).type.data(), "worker-crashed");
    assert_string_equal(problem_of(Errc::insufficient_storage).type.data(), "insufficient-storage");
    assert_int_equal(problem_of(Errc::cancelled).status, 499);
}

void a_type_is_fit_for_a_url_and_a_title_for_people(void**) {
    for (const auto& problem : sonogate::problems) {
        assert_false(problem.title.empty());
        for (const char c : problem.type) {
            assert_true((c >= 'a' && c <= 'z') || c == '-');
        }
    }
}

void a_number_that_is_no_code_is_an_internal_error(void**) {
    for (const unsigned lie : {unsigned{sonogate::errc_count}, 1000U, 65535U}) {
        assert_string_equal(problem_of(static_cast<Errc>(lie)).type.data(), "internal");
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_the_status_and_type_of_the_contract),
        cmocka_unit_test(codes_and_rows_are_in_step),
        cmocka_unit_test(a_type_is_fit_for_a_url_and_a_title_for_people),
        cmocka_unit_test(a_number_that_is_no_code_is_an_internal_error),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
