#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "shm/params.hpp"
#include "tests/audio/sound_file.hpp"
#include "worker/operation.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using nlohmann::json;
using test::sound_file;
using test::tone;

namespace {

using Values = std::vector<std::pair<Parameter, std::string>>;

constexpr int wav16 = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
constexpr int wav_float = SF_FORMAT_WAV | SF_FORMAT_FLOAT;

worker::Operations& operations() {
    static worker::Operations one;
    return one;
}

Result<worker::Answer> run(Bytes body, const Values& values, std::uint64_t max_audio_ms = 0,
                           std::function<bool()> stop = {},
                           std::uint64_t memory_bytes = 512ULL << 20U) {
    std::vector<std::byte> packed(1U << 16U);
    shm::ParamsWriter writer(packed);
    for (const auto& [parameter, value] : values) {
        assert_true(static_cast<bool>(writer.add(parameter, value)));
    }
    worker::Request request;
    request.job.endpoint = shm::Endpoint::analyze;
    request.job.body = shm::BodyKind::raw;
    request.job.limits.max_audio_ms = max_audio_ms;
    request.job.job_memory_bytes = memory_bytes;
    request.params = std::span(packed).first(writer.size());
    request.body = body;
    request.stop_requested = std::move(stop);
    shm::AudioFacts facts;
    return operations().run(request, facts);
}

json analysis(Bytes body, const Values& values = {}) {
    const auto answer = run(body, values);
    assert_true(static_cast<bool>(answer));
    return json::parse(answer->body);
}

Failure refusal(Bytes body, const Values& values = {}) {
    const auto answer = run(body, values);
    assert_false(static_cast<bool>(answer));
    return answer.failure();
}

void a_tone_is_one_peak_with_its_frequency_amplitude_and_note(void**) {
    const auto file = sound_file(wav16, 44100, 1, tone(440.0, 44100, 30 * 44100));
    for (const char* size : {"0", "4096", "65536"}) {
        const json out = analysis(file, {{Parameter::fft_size, size}});
        assert_int_equal(out["peaks"].size(), 1);
        const json& peak = out["peaks"][0];
        assert_true(std::abs(peak["frequency_hz"].get<double>() - 440.0) < 0.1);
        assert_true(std::abs(peak["amplitude"].get<double>() - 1.0) < 0.01);
        assert_string_equal(peak["note"].get<std::string>().c_str(), "A4");
        assert_true(std::abs(peak["cents"].get<double>()) < 0.4);  // 0.1 Hz at 440 Hz
        assert_true(std::abs(peak["magnitude_db"].get<double>()) < 0.1);
        assert_int_equal(peak.contains("phase_rad"), std::string(size) == "0");
        assert_true(out["audio"]["duration_s"].get<double>() == 30.0);
        assert_int_equal(out["audio"]["frames"].get<int>(), 30 * 44100);
        assert_string_equal(out["audio"]["format"].get<std::string>().c_str(), "wav");
        assert_int_equal(out["audio"]["sha256"].get<std::string>().size(), 64);
        assert_false(out["audio"].contains("truncated"));
    }
}

void levels_follow_their_formulas(void**) {
    std::vector<float> samples = tone(1000.0, 48000, 48000, 0.5);
    for (float& sample : samples) {
        sample += 0.1F;
    }
    samples.resize(96000, 0.0F);  // the second half is silent
    const json levels = analysis(sound_file(wav_float, 48000, 1, samples))["levels"];
    const double power = (0.125 + 0.01) / 2.0;
    assert_true(std::abs(levels["peak_dbfs"].get<double>() - 20.0 * std::log10(0.6)) < 0.002);
    assert_true(std::abs(levels["rms_dbfs"].get<double>() - 10.0 * std::log10(power)) < 0.002);
    assert_true(std::abs(levels["dc_offset"].get<double>() - 0.05) < 1e-6);
    assert_true(std::abs(levels["silence_ratio"].get<double>() - 0.5) < 1e-9);
    assert_int_equal(levels["clipped_samples"].get<int>(), 0);
    const json full =
        analysis(sound_file(wav_float, 48000, 1, tone(1000.0, 48000, 48000)))["levels"];
    assert_true(std::abs(full["rms_dbfs"].get<double>() + 3.0103) < 0.002);
    assert_true(full["clipped_samples"].get<int>() > 0);
}

void silence_is_at_the_floor_and_finite(void**) {
    const json out = analysis(sound_file(wav16, 8000, 2, std::vector<float>(8000, 0.0F)),
                              {{Parameter::spectrum, "mean"}});
    assert_true(out["levels"]["peak_dbfs"].get<double>() == -200.0);
    assert_true(out["levels"]["rms_dbfs"].get<double>() == -200.0);
    assert_true(out["levels"]["silence_ratio"].get<double>() == 1.0);
    assert_true(out["spectrum"]["mean_db"][5].get<double>() == -200.0);
    assert_true(out["spectral"]["flatness"].get<double>() == 0.0);
    assert_true(out["peaks"].empty());
}

void levels_are_taken_before_mixing(void**) {
    std::vector<float> opposed;
    for (const float sample : tone(440.0, 8000, 8000, 0.5)) {
        opposed.push_back(sample);
        opposed.push_back(-sample);
    }
    const auto file = sound_file(wav_float, 8000, 2, opposed);
    const json mixed = analysis(file);
    assert_true(mixed["levels"]["peak_dbfs"].get<double>() > -6.1);
    assert_true(mixed["peaks"].empty());
    assert_int_equal(analysis(file, {{Parameter::channel, "left"}})["peaks"].size(), 1);
    assert_int_equal(analysis(file, {{Parameter::channel, "right"}})["peaks"].size(), 1);
}

void a_selection_is_what_is_analysed(void**) {
    auto samples = tone(440.0, 8000, 16000, 0.5);
    const auto second = tone(1000.0, 8000, 16000, 0.5);
    samples.insert(samples.end(), second.begin(), second.end());
    const auto file = sound_file(wav16, 8000, 1, samples);
    const json out = analysis(file, {{Parameter::start_s, "2.5"}, {Parameter::duration_s, "1"}});
    assert_int_equal(out["peaks"].size(), 1);
    assert_true(std::abs(out["peaks"][0]["frequency_hz"].get<double>() - 1000.0) < 0.1);
    assert_true(out["audio"]["duration_s"].get<double>() == 4.0);
    assert_true(out["audio"]["selection"]["duration_s"].get<double>() == 1.0);
    assert_int_equal(refusal(file, {{Parameter::start_s, "4"}}).code, Errc::too_short);
}

void bad_parameters_are_named(void**) {
    const auto file = sound_file(wav16, 8000, 1, tone(440.0, 8000, 8000));
    const Values bad = {
        {Parameter::fft_size, "4095"},
        {Parameter::fft_size, "128"},
        {Parameter::fft_size, "2097152"},
        {Parameter::fft_size, ""},
        {Parameter::fft_size, "4096 "},
        {Parameter::fft_size, "+4096"},
        {Parameter::fft_size, "0x1000"},
        {Parameter::fft_size, "4096.0"},
        {Parameter::fft_size, "-1"},
        {Parameter::fft_size, "18446744073709551617"},
        {Parameter::hop, "0"},
        {Parameter::hop, "4097"},
        {Parameter::window, "Hann"},
        {Parameter::window, ""},
        {Parameter::peaks, "257"},
        {Parameter::spectrum, "full"},
        {Parameter::features, ""},
        {Parameter::features, "levels,"},
        {Parameter::features, "loudness"},
        {Parameter::features, "chroma"},
        {Parameter::features, "mfcc"},
        {Parameter::features, "levels,levels"},
        {Parameter::features, "rhythm"},
        {Parameter::features, "onsets"},
        {Parameter::start_s, "nan"},
        {Parameter::start_s, "inf"},
        {Parameter::start_s, "-1"},
        {Parameter::start_s, "1e400"},
        {Parameter::start_s, "1s"},
        {Parameter::duration_s, "0"},
        {Parameter::duration_s, "-0.1"},
        {Parameter::duration_s, "0x1p3"},
        {Parameter::channel, "both"},
        {Parameter::upload_id, "x"},
    };
    for (const auto& value : bad) {
        const Failure failure = refusal(file, {value});
        print_message("%s=%s\n", std::string(name_of(value.first)).c_str(), value.second.c_str());
        assert_int_equal(failure.code, Errc::invalid_parameter);
        assert_int_equal(failure.parameter, value.first);
    }
}

void bad_bodies_get_the_contracts_answers(void**) {
    assert_int_equal(refusal({}).code, Errc::missing_audio);
    assert_int_equal(refusal(as_bytes_of("just text")).code, Errc::unsupported_format);
    assert_int_equal(refusal(sound_file(wav16, 8000, 1, {})).code, Errc::too_short);
    auto header = sound_file(wav16, 8000, 1, tone(440.0, 8000, 100));
    header.resize(44);
    assert_int_equal(refusal(header).code, Errc::undecodable);
    auto cut =
        sound_file(SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 8000, 1, tone(440.0, 8000, 80000, 0.5));
    cut.resize(cut.size() / 2);
    const json out = analysis(cut);
    assert_true(out["audio"]["truncated"].get<bool>());
    assert_true(out["audio"]["duration_s"].get<double>() < 9.0);
}

void long_audio_is_refused_with_limit_and_value(void**) {
    const auto file = sound_file(wav16, 8000, 1, tone(440.0, 8000, 20000));
    const auto refused = run(file, {}, 2000);
    assert_false(static_cast<bool>(refused));
    assert_int_equal(refused.failure().code, Errc::audio_too_long);
    assert_int_equal(refused.failure().limit, 2000);
    assert_int_equal(refused.failure().value, 2500);
    assert_true(static_cast<bool>(run(file, {}, 2500)));
}

void nan_and_infinite_samples_never_reach_the_json(void**) {
    auto samples = tone(440.0, 8000, 8000, 0.5);
    samples[100] = std::numeric_limits<float>::quiet_NaN();
    samples[200] = std::numeric_limits<float>::infinity();
    samples[300] = -std::numeric_limits<float>::infinity();
    samples[400] = std::numeric_limits<float>::max();
    for (const char* size : {"0", "256"}) {
        const auto answer = run(sound_file(wav_float, 8000, 1, samples),
                                {{Parameter::fft_size, size}, {Parameter::spectrum, "mean"}});
        assert_true(static_cast<bool>(answer));
        const json out = json::parse(answer->body);
        assert_int_equal(out["audio"]["nonfinite_samples"].get<int>(), 4);
        assert_true(answer->body.find("null") ==
                    std::string::npos);  // what nlohmann writes for NaN and infinity
    }
}

void a_whole_signal_that_does_not_fit_is_refused_before_it_is_read(void**) {
    const auto file = sound_file(wav16, 8000, 1, tone(440.0, 8000, 80000));
    const auto refused = run(file, {{Parameter::fft_size, "0"}}, 0, {}, 1U << 20U);
    assert_false(static_cast<bool>(refused));
    assert_int_equal(refused.failure().code, Errc::job_too_large);
}

void a_job_stops_when_nobody_waits(void**) {
    const auto file = sound_file(wav16, 8000, 1, tone(440.0, 8000, 800000));
    int asked = 0;
    const auto stopped = run(file, {}, 0, [&] { return ++asked > 3; });
    assert_false(static_cast<bool>(stopped));
    assert_int_equal(stopped.failure().code, Errc::cancelled);
    assert_int_equal(asked, 4);
}

void tiny_signals_give_finite_answers(void**) {
    for (const std::size_t samples : {1U, 2U, 3U, 5U, 17U, 100U, 255U, 257U}) {
        const auto file = sound_file(wav_float, 44100, 1, tone(440.0, 44100, samples));
        for (const char* window : {"hann", "hamming", "blackman", "blackmanharris", "rect"}) {
            for (const char* size : {"0", "256", "4096"}) {
                const auto answer = run(file, {{Parameter::fft_size, size},
                                               {Parameter::window, window},
                                               {Parameter::spectrum, "mean"}});
                assert_true(static_cast<bool>(answer));
                assert_true(answer->body.find("null") == std::string::npos);
            }
        }
    }
}

void odd_rates_and_many_channels_are_analysed(void**) {
    for (const int rate : {1, 10'000'000}) {
        const json out = analysis(sound_file(wav16, rate, 1, tone(0.1, 1.0, 3000, 0.5)));
        assert_int_equal(out["audio"]["sample_rate_hz"].get<int>(), rate);
        assert_int_equal(out["peaks"].size(), 1);
        assert_true(std::abs(out["peaks"][0]["frequency_hz"].get<double>() / rate - 0.1) < 1e-4);
    }
    const json out = analysis(sound_file(wav16, 8000, 255, std::vector<float>(255 * 500, 0.25F)));
    assert_int_equal(out["audio"]["channels"].get<int>(), 255);
    assert_true(std::abs(out["levels"]["dc_offset"].get<double>() - 0.25) < 1e-6);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_tone_is_one_peak_with_its_frequency_amplitude_and_note),
        cmocka_unit_test(levels_follow_their_formulas),
        cmocka_unit_test(silence_is_at_the_floor_and_finite),
        cmocka_unit_test(levels_are_taken_before_mixing),
        cmocka_unit_test(a_selection_is_what_is_analysed),
        cmocka_unit_test(bad_parameters_are_named),
        cmocka_unit_test(bad_bodies_get_the_contracts_answers),
        cmocka_unit_test(long_audio_is_refused_with_limit_and_value),
        cmocka_unit_test(nan_and_infinite_samples_never_reach_the_json),
        cmocka_unit_test(a_whole_signal_that_does_not_fit_is_refused_before_it_is_read),
        cmocka_unit_test(a_job_stops_when_nobody_waits),
        cmocka_unit_test(tiny_signals_give_finite_answers),
        cmocka_unit_test(odd_rates_and_many_channels_are_analysed),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
