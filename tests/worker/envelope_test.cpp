#include "worker/envelope.hpp"

#include <random>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;

namespace {

Result<worker::Envelope> open(std::string_view json, Bytes params = {},
                              std::uint64_t memory_bytes = 0) {
    worker::Request request;
    request.job.body = shm::BodyKind::json;
    request.job.job_memory_bytes = memory_bytes;
    request.params = params;
    request.body = as_bytes_of(json);
    return worker::open_envelope(request);
}

void assert_refused(std::string_view json, Errc code, Parameter parameter = Parameter::none) {
    const auto envelope = open(json);
    print_message("%.60s\n", std::string(json).c_str());
    assert_false(static_cast<bool>(envelope));
    assert_int_equal(envelope.failure().code, code);
    assert_int_equal(envelope.failure().parameter, parameter);
}

void audio_and_parameters_come_out_of_json(void**) {
    const auto envelope = open(
        R"( {"audio":"SGVsbG8\/Pw==", "fft_size": 4096 ,"multi":true,"title":"caf\u00e9","metadata":{"a": [1, {}]},)"
        R"("unknown":[{"x":null}],"hop":null,"fingerprint":"AAEC"} )");
    assert_true(static_cast<bool>(envelope));
    assert_true(as_text(envelope->audio) == "Hello??");
    assert_true(envelope->params.get(Parameter::fft_size) == "4096");
    assert_true(envelope->params.get(Parameter::multi) == "true");
    assert_true(envelope->params.get(Parameter::title) == "caf\xc3\xa9");
    assert_true(envelope->params.get(Parameter::metadata) == R"({"a": [1, {}]})");
    assert_false(envelope->params.get(Parameter::hop).has_value());
    assert_int_equal(envelope->fingerprint->size(), 3);
}

void packed_parameters_win_over_members(void**) {
    std::vector<std::byte> packed(1024);
    shm::ParamsWriter writer(packed);
    assert_true(static_cast<bool>(writer.add(Parameter::window, "rect")));
    const auto envelope =
        open(R"({"window":"hann","hop":"7"})", std::span(packed).first(writer.size()));
    assert_true(static_cast<bool>(envelope));
    assert_true(envelope->params.get(Parameter::window) == "rect");
    assert_true(envelope->params.get(Parameter::hop) == "7");
    assert_true(envelope->audio.empty());
}

void an_envelope_survives_being_moved(void**) {
    auto first = open(R"({"audio":"SGVsbG8=","title":"a","album":"b","artist":"c"})");
    const worker::Envelope second = std::move(*first);
    assert_true(as_text(second.audio) == "Hello");
    assert_true(second.params.get(Parameter::title) == "a" &&
                second.params.get(Parameter::artist) == "c");
}

void what_is_no_json_object_is_malformed(void**) {
    for (const char* json : {"",
                             " ",
                             "x",
                             "[]",
                             "\"text\"",
                             "12",
                             "null",
                             "{",
                             "{\"a\":1",
                             "{\"a\" 1}",
                             "{} {}",
                             "{}x",
                             "{\"a\":tru}",
                             "{\"title\":tru}",
                             "{\"title\":01}",
                             "{\"x\":[1,}",
                             "{\"audio\":\"QQ==",
                             "{\"audio\":\"\xff\xfe\"}",
                             "{\"title\":\"\\ud800\"}",
                             "{,}",
                             "{\"a\":1,}",
                             "{\"x\":{\"y\":}}",
                             "\xef\xbb\xbf"}) {
        assert_refused(json, Errc::malformed_json);
    }
    assert_refused(std::string(200000, '['), Errc::malformed_json);
    assert_refused("{\"x\":" + std::string(200000, '[') + "}", Errc::malformed_json);
}

void repeated_and_structured_members_are_named(void**) {
    assert_refused(R"({"hop":1,"hop":2})", Errc::invalid_parameter, Parameter::hop);
    assert_refused(R"({"audio":"QQ==","audio":"QQ=="})", Errc::invalid_parameter, Parameter::audio);
    assert_refused(R"({"hop":[1]})", Errc::invalid_parameter, Parameter::hop);
    assert_refused(R"({"title":{}})", Errc::invalid_parameter, Parameter::title);
    assert_refused(R"({"metadata":[1]})", Errc::invalid_parameter, Parameter::metadata);
    assert_refused(R"({"audio":5})", Errc::invalid_parameter, Parameter::audio);
    assert_refused(R"({"upload_id":"abc"})", Errc::invalid_parameter, Parameter::upload_id);
    assert_true(static_cast<bool>(open(R"({"unknown":1,"unknown":2})")));
}

void only_strict_base64_is_audio(void**) {
    for (const char* text : {"Q", "QQ", "QQ=", "Q===", "QQ==QQ==", "Q-==", "QQ--", "Q_==", "QQ=Q",
                             "Q Q*", "====", "QUJD-", "QUJDé"}) {
        assert_refused(std::string(R"({"audio":")") + text + "\"}", Errc::invalid_parameter,
                       Parameter::audio);
    }
    const auto wrapped = open("{\"audio\":\"QUJD\\r\\nREVG\\n\"}");
    assert_true(static_cast<bool>(wrapped));
    assert_true(as_text(wrapped->audio) == "ABCDEF");
}

void base64_of_every_length_comes_back(void**) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::mt19937 random(3);
    for (std::size_t size : {1U, 2U, 3U, 47U, 48U, 49U, 1000U, 3145728U,
                             3145729U}) {  // the last two pass a chunk's end
        std::string bytes(size, '\0');
        for (char& byte : bytes) {
            byte = static_cast<char>(random());
        }
        std::string text;
        for (std::size_t i = 0; i < size; i += 3) {
            std::uint32_t group = 0;
            for (std::size_t j = 0; j < 3; ++j) {
                group =
                    group << 8U | (i + j < size ? static_cast<unsigned char>(bytes[i + j]) : 0U);
            }
            for (std::size_t j = 0; j < 4; ++j) {
                text += i + j <= size ? digits[group >> (18U - 6U * j) & 63U] : '=';
            }
        }
        const auto envelope = open("{\"audio\":\"" + text + "\"}");
        assert_true(static_cast<bool>(envelope));
        assert_true(as_text(envelope->audio) == bytes);
    }
}

void a_body_too_large_to_parse_is_refused(void**) {
    const std::string json = "{\"audio\":\"" + std::string(100000, 'A') + "\"}";
    const auto envelope = open(json, {}, 500000);
    assert_false(static_cast<bool>(envelope));
    assert_int_equal(envelope.failure().code, Errc::job_too_large);
}

void damaged_json_ends_in_an_answer(void**) {
    constexpr unsigned seed = 11;
    print_message("seed %u\n", seed);
    std::mt19937 random(seed);
    const std::string original =
        R"({"audio":"SGVsbG8=","fft_size":4096,"metadata":{"a":[1,2,{"b":"c\u00e9"}]},"title":"x","multi":false})";
    for (int turn = 0; turn < 20000; ++turn) {
        std::string text = original;
        for (unsigned hit = 0; hit < 1U + random() % 4U; ++hit) {
            text[random() % text.size()] = static_cast<char>(random());
        }
        text.resize(turn % 2 == 0 ? text.size() : random() % text.size());
        const auto envelope = open(text);
        assert_true(envelope || envelope.failure().code == Errc::malformed_json ||
                    envelope.failure().code == Errc::invalid_parameter);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(audio_and_parameters_come_out_of_json),
        cmocka_unit_test(packed_parameters_win_over_members),
        cmocka_unit_test(an_envelope_survives_being_moved),
        cmocka_unit_test(what_is_no_json_object_is_malformed),
        cmocka_unit_test(repeated_and_structured_members_are_named),
        cmocka_unit_test(only_strict_base64_is_audio),
        cmocka_unit_test(base64_of_every_length_comes_back),
        cmocka_unit_test(a_body_too_large_to_parse_is_refused),
        cmocka_unit_test(damaged_json_ends_in_an_answer),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
