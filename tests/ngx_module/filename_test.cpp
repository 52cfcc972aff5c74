#include "ngx_module/filename.hpp"

#include <cstdio>
#include <random>
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

std::string made_of(std::string_view sent) {
    Filename name;
    name.set(sent);
    return std::string(name.view());
}

void folders_are_left_out(void**) {
    for (const char* sent :
         {"a.wav", "/a.wav", "x/y/a.wav", "C:\\x\\a.wav", "../../a.wav", "\\/a.wav"}) {
        assert_string_equal(made_of(sent).c_str(), "a.wav");
    }
    for (const char* sent : {"", ".", "..", "a/", "a/..", "\\"}) {
        assert_string_equal(made_of(sent).c_str(), "");
    }
}

void what_is_no_letter_becomes_an_underscore(void**) {
    assert_string_equal(made_of("a\tb\x1b[31m\"<c>\x7f").c_str(), "a_b_[31m__c__");
    assert_string_equal(made_of("\xc2\x85\xe2\x80\xae\xe2\x81\xa6\xef\xbb\xbf").c_str(), "____");
    // Overlong, cut, a surrogate, beyond Unicode, no lead byte.
    assert_string_equal(made_of("\xc0\xaf").c_str(), "__");
    assert_string_equal(made_of("\xe0\x80\xaf").c_str(), "___");
    assert_string_equal(made_of("\xe2\x82").c_str(), "__");
    assert_string_equal(made_of("\xed\xa0\x80").c_str(), "___");
    assert_string_equal(made_of("\xf4\x90\x80\x80").c_str(), "____");
    assert_string_equal(made_of("\x80").c_str(), "_");
    assert_string_equal(made_of("ä€\xf0\x9f\x8e\xb5.flac").c_str(), "ä€\xf0\x9f\x8e\xb5.flac");
}

void a_long_name_is_cut_between_characters(void**) {
    std::string sent;
    for (int i = 0; i < 200; ++i) {
        sent += "é";
    }
    assert_int_equal(made_of(sent).size(), 254);
    assert_int_equal(made_of(std::string(1000, 'x')).size(), Filename::max_bytes);
}

void whatever_is_sent_the_same_name_comes_of_the_name(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 20000; ++round) {
        std::string sent(random() % 40, '\0');
        for (char& byte : sent) {
            byte = static_cast<char>(random());
        }
        const std::string name = made_of(sent);
        assert_true(name.find_first_of("/\\\"<>\n\r") == std::string::npos);
        assert_string_equal(made_of(name).c_str(), name.c_str());
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(folders_are_left_out),
        cmocka_unit_test(what_is_no_letter_becomes_an_underscore),
        cmocka_unit_test(a_long_name_is_cut_between_characters),
        cmocka_unit_test(whatever_is_sent_the_same_name_comes_of_the_name),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
