// A line of a key file, as the daemon writes it and nginx reads it.
#include "base/key_line.hpp"

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

const std::string digest = "00ff10203040506070809Aa0b0c0d0e0f00112233445566778899aAbBcCdDeF0";

KeyLineKind read(const std::string& line, KeyLine& out) {
    const char* why = nullptr;
    const KeyLineKind kind = read_key_line(line, out, why);
    assert_true((kind == KeyLineKind::bad) == (why != nullptr));
    return kind;
}

void what_is_written_is_read_back(void**) {
    KeyLine key;
    const std::string given = "team-a@x.org " + digest;
    assert_int_equal(read(given, key), KeyLineKind::key);
    assert_true(key.name == "team-a@x.org");
    assert_int_equal(key.digest[0], 0x00);
    assert_int_equal(key.digest[1], 0xff);
    assert_int_equal(key.digest[31], 0xf0);
    assert_int_equal(key.roles, role_analyze | role_identify);
    assert_true(key.rate_class.empty());
    key.roles = role_catalog | role_ops;
    key.rate_class = "gold";
    const std::string line = write_key_line(key) + "\r";
    KeyLine again;
    assert_int_equal(read(line, again), KeyLineKind::key);
    assert_true(again.name == key.name && again.digest == key.digest && again.roles == key.roles &&
                again.rate_class == "gold");
}

void blank_lines_and_comments_are_no_keys(void**) {
    KeyLine key;
    for (const char* line : {"", "   \t\r", "# a comment", "  #x y z"}) {
        assert_int_equal(read(line, key), KeyLineKind::blank);
    }
    assert_int_equal(read("a " + digest + " roles=ops # whose", key), KeyLineKind::key);
    assert_int_equal(key.roles, role_ops);
}

void what_is_no_key_is_bad(void**) {
    KeyLine key;
    for (const std::string& line :
         {std::string("a"), "a " + digest.substr(1), "a " + digest + "0", "a x" + digest.substr(1),
          "1.2.3.4 " + digest, "::1 " + digest, "- " + digest, std::string(65, 'a') + " " + digest,
          "a/b " + digest, "a " + digest + " roles=", "a " + digest + " roles=root",
          "a " + digest + " rate=", "a " + digest + " rate=1", "a " + digest + " gold",
          "a " + digest + " roles=ops roles=ops", "a " + digest + " rate=x rate=y",
          digest + " a"}) {
        assert_int_equal(read(line, key), KeyLineKind::bad);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(blank_lines_and_comments_are_no_keys),
        cmocka_unit_test(what_is_no_key_is_bad),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
