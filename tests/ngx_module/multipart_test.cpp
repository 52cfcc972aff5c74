#include "ngx_module/multipart.hpp"

#include <map>
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

using sonogate::Errc;
using sonogate::Parameter;
using sonogate::ngx_module::Multipart;

struct Parsed {
    std::string audio;
    std::map<Parameter, std::string> values;
    bool finished = false;
    sonogate::Failure failure{.code = Errc::ok};
    friend bool operator==(const Parsed& a, const Parsed& b) {
        return a.audio == b.audio && a.values == b.values && a.finished == b.finished &&
               a.failure.code == b.failure.code && a.failure.parameter == b.failure.parameter;
    }
};

// Feeds `body` in pieces; `piece(left)` says how large the next one is.
template <typename Piece>
Parsed parse(std::string_view body, Piece&& piece, std::string_view boundary = "XX") {
    auto parser = Multipart::with_boundary(boundary);
    assert_true(static_cast<bool>(parser));
    Parsed out;
    std::string window;
    for (;;) {
        const auto step = parser->next(window);
        if (step.kind == Multipart::Kind::failed) {
            out.failure = step.failure;
            return out;
        }
        if (step.kind == Multipart::Kind::more) {
            if (body.empty()) {
                out.finished = parser->finished();
                return out;
            }
            const std::size_t bytes = std::min<std::size_t>(piece(body.size()), body.size());
            window.append(body.substr(0, bytes));
            body.remove_prefix(bytes);
            continue;
        }
        assert_true(step.bytes > 0 && step.bytes <= window.size());
        if (step.kind == Multipart::Kind::audio) {
            out.audio.append(window, 0, step.bytes);
        } else if (step.kind == Multipart::Kind::parameter) {
            assert_true(out.values.emplace(step.parameter, step.value).second);
        }
        window.erase(0, step.bytes);
    }
}

Parsed parse_whole(std::string_view body) {
    return parse(body, [](std::size_t left) { return left; });
}

std::string part(std::string_view disposition, std::string_view content) {
    return "--XX\r\nContent-Disposition: form-data; " + std::string(disposition) + "\r\n\r\n" +
           std::string(content) + "\r\n";
}

const std::string end = "--XX--\r\n";

void audio_and_parameters_come_out(void**) {
    const Parsed out = parse_whole(part("name=\"peaks\"", "7") +
                                   part("name=\"file\"; filename=\"a;b.wav\"", "RIFF\r\n--X") +
                                   part("filename=\"x\"; name=title", "") + end);
    assert_true(out.finished);
    assert_true(out.audio == "RIFF\r\n--X");
    assert_int_equal(out.values.size(), 2);
    assert_true(out.values.at(Parameter::peaks) == "7");
    assert_true(out.values.at(Parameter::title).empty());
}

void the_first_audio_part_counts_and_later_ones_are_ignored(void**) {
    const Parsed out = parse_whole(part("name=\"sample\"", "one") + part("name=\"file\"", "two") +
                                   part("name=\"sample\"", "three") + end);
    assert_true(out.finished);
    assert_true(out.audio == "one");
}

void unknown_parts_and_names_of_json_members_are_ignored(void**) {
    const Parsed out =
        parse_whole(part("name=\"nonsense\"", "x") + part("name=\"upload_id\"", "y") +
                    part("name=\"fingerprint\"", "z") + end);
    assert_true(out.finished);
    assert_true(out.values.empty());
}

void preamble_epilogue_and_padding_belong_to_nobody(void**) {
    const Parsed out = parse_whole(
        "a preamble\r\n--XXno boundary\r\n--XX \t\r\nCONTENT-disposition:form-data; "
        "NAME=audio\r\n\r\nabc\r\n--XX-- \r\n--XX\r\nan epilogue");
    assert_true(out.finished);
    assert_true(out.audio == "abc");
}

void a_line_that_only_begins_like_the_boundary_is_audio(void**) {
    const Parsed out = parse_whole(part("name=file", "a\r\n--XXY\r\n--XX-\r\n--XX \t!") + end);
    assert_true(out.finished);
    assert_true(out.audio == "a\r\n--XXY\r\n--XX-\r\n--XX \t!");
}

void however_it_is_cut_the_same_comes_out(void**) {
    constexpr unsigned seed = 20261123;
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    constexpr std::string_view alphabet = "\r\n-X ab;\"";
    for (int round = 0; round < 2000; ++round) {
        std::string noise;
        for (auto i = random() % 80; i > 0; --i) {
            noise += alphabet[random() % alphabet.size()];
        }
        const std::string body = part("name=title", noise.substr(0, noise.size() / 2)) +
                                 part("name=file", noise) + (random() % 4 == 0 ? noise : end);
        const Parsed whole = parse_whole(body);
        const Parsed bytes = parse(body, [](std::size_t) { return std::size_t{1}; });
        const Parsed pieces = parse(body, [&](std::size_t) { return 1 + random() % 13; });
        assert_true(bytes == whole);
        assert_true(pieces == whole);
    }
}

void what_is_cut_short_is_not_finished(void**) {
    const std::string body = part("name=file", "audio") + end;
    for (std::size_t bytes = 0; bytes < body.size() - 2; ++bytes) {
        assert_false(parse_whole(std::string_view(body).substr(0, bytes)).finished);
    }
}

void broken_part_headers_are_malformed(void**) {
    for (const std::string& body :
         {std::string("--XX\r\n\r\nno headers\r\n--XX--"),
          std::string("--XX\r\nContent-Type: audio/wav\r\n\r\nx\r\n--XX--"),
          part("filename=x", "y"), part("name=\"unended", "y"),
          "--XX\r\nContent-Disposition: form-data; name=" + std::string(9000, 'x')}) {
        assert_int_equal(parse_whole(body).failure.code, Errc::malformed_multipart);
    }
}

void a_parameter_beyond_its_bound_is_refused_by_name_before_it_ends(void**) {
    const std::string value(Multipart::max_value_bytes + 100, 'v');
    const std::string body =
        "--XX\r\nContent-Disposition: form-data; name=metadata\r\n\r\n" + value;
    for (const std::size_t piece : {std::size_t{1000}, body.size()}) {
        const Parsed out = parse(body, [&](std::size_t) { return piece; });
        assert_int_equal(out.failure.code, Errc::invalid_parameter);
        assert_int_equal(out.failure.parameter, Parameter::metadata);
    }
    const std::string most(Multipart::max_value_bytes, 'v');
    assert_true(parse_whole(part("name=metadata", most) + end).values.at(Parameter::metadata) ==
                most);
}

void a_boundary_has_1_to_70_characters(void**) {
    assert_false(static_cast<bool>(Multipart::with_boundary("")));
    assert_true(static_cast<bool>(Multipart::with_boundary(std::string(70, 'b'))));
    assert_false(static_cast<bool>(Multipart::with_boundary(std::string(71, 'b'))));
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(audio_and_parameters_come_out),
        cmocka_unit_test(the_first_audio_part_counts_and_later_ones_are_ignored),
        cmocka_unit_test(unknown_parts_and_names_of_json_members_are_ignored),
        cmocka_unit_test(preamble_epilogue_and_padding_belong_to_nobody),
        cmocka_unit_test(a_line_that_only_begins_like_the_boundary_is_audio),
        cmocka_unit_test(however_it_is_cut_the_same_comes_out),
        cmocka_unit_test(what_is_cut_short_is_not_finished),
        cmocka_unit_test(broken_part_headers_are_malformed),
        cmocka_unit_test(a_parameter_beyond_its_bound_is_refused_by_name_before_it_ends),
        cmocka_unit_test(a_boundary_has_1_to_70_characters),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
