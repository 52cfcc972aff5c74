#include "enrol/progress.hpp"

#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::enrol::Figures;
using sonogate::enrol::progress_line;

void expect(const Figures& now, const char* line) {
    assert_string_equal(progress_line(now).c_str(), line);
}

void a_beginning_tells_no_rate_and_no_time(void**) {
    expect({.files = 10, .bytes = 1000}, "[                        ] 0/10 0 %");
    expect({}, "[========================] 0/0 100 %");
}

void the_time_left_is_that_of_the_bytes_left_at_the_rate_of_those_sent(void**) {
    // Half was there already: the quarter that was sent took ten seconds, so the last one will.
    expect({.files = 8,
            .enrolled = 2,
            .there = 4,
            .bytes = 8000,
            .done_bytes = 6000,
            .sent_bytes = 2000,
            .audio_s = 400,
            .elapsed_s = 10},
           "[==================      ] 6/8 75 %, 0.2 tracks/s, 40 x real time, 0:10 left");
}

void hours_and_failures_are_told(void**) {
    expect({.files = 100,
            .enrolled = 1,
            .failed = 1,
            .bytes = 1'000'000,
            .done_bytes = 20'000,
            .sent_bytes = 10'000,
            .audio_s = 60,
            .elapsed_s = 60},
           "[                        ] 2/100 2 %, 0.0 tracks/s, 1 x real time, 1:38:00 left, 1 "
           "failed");
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_beginning_tells_no_rate_and_no_time),
        cmocka_unit_test(the_time_left_is_that_of_the_bytes_left_at_the_rate_of_those_sent),
        cmocka_unit_test(hours_and_failures_are_told),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
