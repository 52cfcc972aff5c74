// Which origins a pattern means, and which only look like it.
#include "ngx_module/origin.hpp"

#include <string>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::ngx_module::OriginPattern;

bool allows(const std::string& pattern, const std::string& origin) {
    std::string room(pattern.size(), '\0');
    OriginPattern read;
    assert_null(sonogate::ngx_module::read_origin(pattern, room, read));
    return matches(read, origin);
}

void an_origin_is_compared_whole(void**) {
    assert_true(allows("https://app.example.com", "https://app.example.com"));
    assert_true(allows("HTTPS://App.Example.COM:443", "https://app.example.com"));
    assert_true(allows("http://a.test:80", "http://a.test"));
    assert_true(allows("http://a.test:443", "http://a.test:443"));
    assert_true(allows("http://[::1]:8080", "http://[::1]:8080"));
    assert_true(allows("http://localhost:5173", "http://localhost:5173"));
    assert_true(allows("capacitor://localhost", "capacitor://localhost"));
    assert_true(allows("null", "null"));
    for (const char* other :
         {"http://app.example.com", "https://app.example.com:8443", "https://app.example.com:443",
          "https://app.example.com/", "https://app.example.com.evil.com",
          "https://evilapp.example.com", "https://app.example.co", "https://APP.example.com",
          "https://app.example.com ", "null", "", "https://app.example.com https://evil.com",
          "*"}) {
        assert_false(allows("https://app.example.com", other));
    }
}

void a_wildcard_is_subdomains_of_one_domain(void**) {
    const std::string all = "https://*.example.com";
    for (const char* origin : {"https://a.example.com", "https://a.b-c.example.com",
                               "https://xn--bcher-kva.example.com", "https://a_b.example.com"}) {
        assert_true(allows(all, origin));
    }
    for (const char* origin :
         {"https://example.com", "https://.example.com", "https://evilexample.com",
          "https://a.example.com.evil.com", "https://a..example.com", "https://a.example.com.",
          "http://a.example.com", "https://a.example.com:8443", "https://evil.com/.example.com",
          "https://evil.com#.example.com", "https://evil.com?.example.com",
          "https://evil.com:1.example.com", "https://a@b.example.com", "https://A.example.com",
          "https://evil.com\\.example.com", "https:// .example.com", "https://%2e.example.com",
          "null", "https://"}) {
        assert_false(allows(all, origin));
    }
    assert_true(allows("https://*.example.com:8443", "https://a.example.com:8443"));
    assert_false(allows("https://*.example.com:8443", "https://a.example.com"));
    assert_false(allows("https://*.example.com:8443", "https://a.example.com:18443"));
    assert_true(allows("https://*.example.com:443", "https://a.example.com"));
}

void what_is_no_origin_is_not_read(void**) {
    for (const std::string text : {"",
                                   "example.com",
                                   "https://",
                                   "https://a/",
                                   "https://a/b",
                                   "https://a:",
                                   "https://a:0",
                                   "https://a:65536",
                                   "https://a:08",
                                   "https://a:1/",
                                   "https://*",
                                   "https://a.*.com",
                                   "https://*example.com",
                                   "https://*.*.com",
                                   "https://*.",
                                   "https://.a",
                                   "https://a..b",
                                   "*.example.com",
                                   "://a",
                                   "1://a",
                                   "https://u@a",
                                   "https://a?b",
                                   "https://a#b",
                                   "https://b\xc3\xbc"
                                   "cher.de",
                                   "https://[::1",
                                   "https://[g]",
                                   "https://*.[::1]",
                                   "a b://c"}) {
        std::string room(text.size(), '\0');
        OriginPattern read;
        if (sonogate::ngx_module::read_origin(text, room, read) == nullptr) {
            fail_msg("%s was read", text.c_str());
        }
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_compared_whole),
        cmocka_unit_test(a_wildcard_is_subdomains_of_one_domain),
        cmocka_unit_test(what_is_no_origin_is_not_read),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
