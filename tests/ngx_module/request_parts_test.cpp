// What a request line and its headers mean: query, content type, route.
#include <string>

#include "ngx_module/content_type.hpp"
#include "ngx_module/query.hpp"
#include "ngx_module/random.hpp"
#include "ngx_module/route.hpp"

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

struct Query {
    std::array<std::byte, 512> memory{};
    shm::ParamsWriter writer{memory};
    Result<void> outcome;
    explicit Query(std::string_view text) : outcome(Errc::internal) {
        std::string scratch(text.size(), '\0');
        outcome = read_query(text, scratch, writer);
    }
    std::optional<std::string_view> get(Parameter parameter) const {
        return shm::Params::parse(Bytes(memory).first(writer.size()))->get(parameter);
    }
};

void arguments_are_decoded(void**) {
    const Query query("title=a%20b+c%2Bd%c3%bc&&hop&peaks=&%70%65aks2=1&q=a=b&nonsense=%zz");
    assert_true(static_cast<bool>(query.outcome));
    assert_true(query.get(Parameter::title) == "a b c+d\xc3\xbc");
    assert_true(query.get(Parameter::hop) == "");
    assert_true(query.get(Parameter::peaks) == "");
    assert_true(query.get(Parameter::q) == "a=b");
}

void repeated_and_broken_arguments_are_named(void**) {
    for (const auto& [text, parameter] :
         {std::pair{"peaks=1&hop=2&%70eaks=3", Parameter::peaks},
          std::pair{"title=%2", Parameter::title}, std::pair{"title=%g0", Parameter::title}}) {
        const Query query(text);
        assert_int_equal(query.outcome.failure().code, Errc::invalid_parameter);
        assert_int_equal(query.outcome.failure().parameter, parameter);
    }
}

void names_of_json_members_and_unknown_names_are_ignored_also_twice(void**) {
    const Query query("audio=x&audio=y&fingerprint=z&upload_id=1&new=1&new=2");
    assert_true(static_cast<bool>(query.outcome));
    assert_int_equal(query.writer.size(), 0);
}

void arguments_that_do_not_fit_are_malformed(void**) {
    const Query query("title=" + std::string(600, 'x'));
    assert_int_equal(query.outcome.failure().code, Errc::malformed_request);
}

void header_parameters_are_unquoted(void**) {
    std::array<char, 8> out{};
    assert_true(header_parameter("a/b; x=1; boundary=\"q;\\\"\"", "BOUNDARY", out) == "q;\"");
    assert_true(header_parameter("a/b;boundary = abc ;x=2", "boundary", out) == "abc");
    assert_true(header_parameter("form-data; filename=\"name=x\"; name=y", "name", out) == "y");
    for (const char* text : {"", "boundary=x", "a; boundary", "a; boundary=\"open", ";=;;",
                             "a; xboundary=1", "a; boundary=longerthan8"}) {
        assert_false(header_parameter(text, "boundary", out).has_value());
    }
}

void only_two_media_types_wrap_audio(void**) {
    assert_int_equal(wrapping_of("Multipart/Form-Data; boundary=x"), Wrapping::multipart);
    assert_int_equal(wrapping_of(" application/json ; charset=utf-8"), Wrapping::json);
    for (const char* type : {"", "audio/wav", "application/x-www-form-urlencoded",
                             "application/jsonp", "multipart/mixed; boundary=x"}) {
        assert_int_equal(wrapping_of(type), Wrapping::none);
    }
}

void paths_have_their_methods(void**) {
    assert_int_equal(route_of(Method::post, "/v1/analyze").endpoint, shm::Endpoint::analyze);
    assert_int_equal(route_of(Method::head, "/v1/tracks").endpoint, shm::Endpoint::track_list);
    assert_int_equal(route_of(Method::post, "/v1/tracks").catalog, CatalogUse::write);
    const Route track = route_of(Method::del, "/v1/tracks/a.B_c:1-");
    assert_int_equal(track.endpoint, shm::Endpoint::track_delete);
    assert_true(track.track_id == "a.B_c:1-");
    const Route wrong = route_of(Method::get, "/v1/analyze");
    assert_int_equal(wrong.refusal, Errc::method_not_allowed);
    assert_true(wrong.allow == "POST");
    assert_int_equal(wrong.endpoint, shm::Endpoint::none);
    for (const char* path : {"/", "", "/v1/analyze/", "/V1/analyze", "/v1/tracks/",
                             "/v1/tracks/a/b", "/v1/tracks/\xc3\xbc", "/healthy", "/v1"}) {
        assert_int_equal(route_of(Method::get, path).refusal, Errc::not_found);
    }
}

void track_ids_have_1_to_128_characters(void**) {
    assert_true(is_track_id(std::string(128, 'a')));
    assert_false(is_track_id(std::string(129, 'a')));
    assert_false(is_track_id(""));
    assert_false(is_track_id(std::string_view("a\0b", 3)));
    std::array<char, 26> made{};
    std::array<char, 26> other{};
    write_track_id(made);
    write_track_id(other);
    assert_true(is_track_id({made.data(), made.size()}));
    assert_true(made != other);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_decoded),
        cmocka_unit_test(repeated_and_broken_arguments_are_named),
        cmocka_unit_test(names_of_json_members_and_unknown_names_are_ignored_also_twice),
        cmocka_unit_test(arguments_that_do_not_fit_are_malformed),
        cmocka_unit_test(header_parameters_are_unquoted),
        cmocka_unit_test(only_two_media_types_wrap_audio),
        cmocka_unit_test(paths_have_their_methods),
        cmocka_unit_test(track_ids_have_1_to_128_characters),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
