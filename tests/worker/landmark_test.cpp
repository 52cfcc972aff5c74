#include <openssl/evp.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "catalog/record.hpp"
#include "fingerprint/packing.hpp"
#include "shm/params.hpp"
#include "tests/audio/sound_file.hpp"
#include "tests/fingerprint/synthetic.hpp"
#include "worker/operation.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using fingerprint::Density;
using nlohmann::json;
using shm::Endpoint;
using Values = std::vector<std::pair<Parameter, std::string>>;

constexpr int wav16 = SF_FORMAT_WAV | SF_FORMAT_PCM_16;

struct Asked {
    Endpoint endpoint = Endpoint::identify;
    Values values = {};
    shm::BodyKind kind = shm::BodyKind::raw;
    std::string track_id = "made-by-nginx";
    bool track_id_made = true;
    std::function<bool()> stop = {};
};

Result<worker::Answer> run(Bytes body, const Asked& asked) {
    static worker::Operations operations;
    std::vector<std::byte> packed(1U << 16U);
    shm::ParamsWriter writer(packed);
    for (const auto& [parameter, value] : asked.values) {
        assert_true(static_cast<bool>(writer.add(parameter, value)));
    }
    worker::Request request;
    request.job.endpoint = asked.endpoint;
    request.job.body = asked.kind;
    request.job.job_memory_bytes = 512ULL << 20U;
    request.job.flags = asked.track_id_made ? shm::job_track_id_made : 0U;
    request.job.track_id.size = static_cast<std::uint16_t>(asked.track_id.size());
    std::copy(asked.track_id.begin(), asked.track_id.end(), request.job.track_id.data.begin());
    request.params = std::span(packed).first(writer.size());
    request.body = body;
    request.stop_requested = asked.stop;
    shm::AudioFacts facts;
    return operations.run(request, facts);
}

std::vector<std::byte> wav_of_music(double seconds) {
    return test::sound_file(wav16, fingerprint::sample_rate_hz, 1, test::music(1, seconds));
}

catalog::Record record(const Result<worker::Answer>& answer) {
    assert_true(static_cast<bool>(answer));
    auto unpacked = catalog::unpack_record(as_bytes_of(answer->body));
    assert_true(static_cast<bool>(unpacked));
    return *std::move(unpacked);
}

fingerprint::Fingerprint fingerprint_in(const catalog::Record& r) {
    auto unpacked = fingerprint::unpack(r.fingerprint);
    assert_true(static_cast<bool>(unpacked));
    return *std::move(unpacked);
}

Failure failure(const Result<worker::Answer>& answer) {
    assert_false(static_cast<bool>(answer));
    return answer.failure();
}

void identify_hands_on_the_clip_and_what_was_asked(void**) {
    const auto file = wav_of_music(6);
    const auto r = record(run(file, {.values = {{Parameter::limit, "7"},
                                                {Parameter::multi, "true"},
                                                {Parameter::max_false_positive, "1e-3"}}}));
    assert_true(r.limit == 7 && r.multi && r.max_false_positive == 1e-3);
    assert_int_equal(r.duration_ms, 6000);
    assert_int_equal(r.sha256.size(), 64);
    assert_true(json::parse(r.audio)["sample_rate_hz"] == 8000);
    const auto made = fingerprint_in(r);
    assert_true(made.density == Density::clip && made.peaks.size() > 100);
    const auto plain = record(run(file, {}));
    assert_true(plain.limit == 5 && !plain.multi && plain.max_false_positive == 1e-6);
}

void any_sample_rate_gives_nearly_the_same_peaks(void**) {
    const auto reference = test::fingerprint_of(test::music(1, 6), Density::clip);
    // 48 kHz by sixfold repetition of each sample: images appear above 4 kHz and are filtered out.
    const auto slow = test::music(1, 6);
    std::vector<float> fast;
    for (const float sample : slow) {
        fast.insert(fast.end(), 6, sample);
    }
    const auto r = record(run(test::sound_file(wav16, 48'000, 1, fast), {}));
    int same = 0;
    const auto made = fingerprint_in(r);
    for (const auto& p : reference.peaks) {
        same += std::any_of(made.peaks.begin(), made.peaks.end(), [&](const auto& q) {
            return std::abs(static_cast<double>(q.time) - p.time) <= 4 &&
                   std::abs(q.frequency - p.frequency) <= 4;
        });
    }
    // Repetition weakens what is near 4 kHz by 4 dB, which changes some ranks.
    assert_true(same * 100 >= static_cast<int>(reference.peaks.size()) * 85);
}

void bad_parameters_are_named_before_anything_is_decoded(void**) {
    const auto rubbish = as_bytes_of("no audio at all");
    const std::vector<std::pair<Parameter, std::string>> bad = {
        {Parameter::limit, "0"},     {Parameter::limit, "51"},
        {Parameter::limit, "x"},     {Parameter::max_false_positive, "0"},
        {Parameter::multi, "yes"},   {Parameter::max_false_positive, "1.1"},
        {Parameter::start_s, "-1"},  {Parameter::max_false_positive, "nan"},
        {Parameter::channel, "both"}};
    for (const auto& [parameter, value] : bad) {
        const Failure f = failure(run(rubbish, {.values = {{parameter, value}}}));
        assert_true(f.code == Errc::invalid_parameter && f.parameter == parameter);
    }
    for (const auto& [parameter, value] : Values{{Parameter::title, std::string(513, 'x')},
                                                 {Parameter::metadata, "[]"},
                                                 {Parameter::isrc, "a b"},
                                                 {Parameter::album, "\xff"}}) {
        const Failure f = failure(
            run(rubbish, {.endpoint = Endpoint::track_create, .values = {{parameter, value}}}));
        assert_true(f.code == Errc::invalid_parameter && f.parameter == parameter);
    }
    const Failure f = failure(run(rubbish, {.endpoint = Endpoint::fingerprint,
                                            .values = {{Parameter::algorithm, "panako"}}}));
    assert_true(f.parameter == Parameter::algorithm);
    assert_true(failure(run(rubbish, {})).code == Errc::unsupported_format);
    assert_true(failure(run({}, {})).code == Errc::missing_audio);
}

void a_track_is_measured_with_its_labels(void**) {
    const auto r =
        record(run(wav_of_music(6),
                   {.endpoint = Endpoint::track_create,
                    .values = {{Parameter::title, "T"}, {Parameter::metadata, "{ \"a\": 1 }"}}}));
    assert_true(r.labels.title == "T" && r.labels.metadata == R"({"a":1})" && !r.labels.artist);
    assert_true(r.track_id.empty() && fingerprint_in(r).density == Density::track);
}

void a_json_body_names_the_track_only_where_nginx_made_the_id(void**) {
    const auto file = wav_of_music(2);
    std::string base64((file.size() + 2) / 3 * 4 + 1, '\0');
    base64.resize(static_cast<std::size_t>(EVP_EncodeBlock(
        reinterpret_cast<unsigned char*>(base64.data()),
        reinterpret_cast<const unsigned char*>(file.data()), static_cast<int>(file.size()))));
    const auto create = [&](const std::string& own, bool made) {
        const std::string body = json{{"audio", base64}, {"track_id", own}}.dump();
        return run(as_bytes_of(body), {.endpoint = Endpoint::track_create,
                                       .kind = shm::BodyKind::json,
                                       .track_id_made = made});
    };
    assert_true(record(create("own", true)).track_id == "own");
    assert_true(record(create("own", false)).track_id.empty());
    assert_true(failure(create("no good", true)).parameter == Parameter::track_id);
    assert_true(failure(run(file, {.endpoint = Endpoint::track_create,
                                   .track_id = "a/b",
                                   .track_id_made = false}))
                    .parameter == Parameter::track_id);
}

void a_fingerprint_can_be_identified_later(void**) {
    const auto file = wav_of_music(6);
    const auto answer = run(file, {.endpoint = Endpoint::fingerprint});
    assert_true(static_cast<bool>(answer));
    const json made = json::parse(answer->body);
    assert_true(made["kind"] == "fingerprint" && made["algorithm"] == "landmark" &&
                made["version"] == 2 && made["duration_s"] == 6.0 && made["peaks"] > 100);
    const std::string body = json{{"fingerprint", made["fingerprint"]}, {"limit", 2}}.dump();
    const auto later = record(run(as_bytes_of(body), {.kind = shm::BodyKind::json}));
    const auto at_once = record(run(file, {}));
    assert_true(later.fingerprint == at_once.fingerprint && later.limit == 2);
    assert_true(later.duration_ms == 6000 && later.sha256.empty());
    for (const char* bad : {R"({"fingerprint":""})", R"({"fingerprint":"AAAA"})",
                            R"({"fingerprint":"???"})", R"({"fingerprint":7})"}) {
        const Failure f = failure(run(as_bytes_of(bad), {.kind = shm::BodyKind::json}));
        assert_true(f.code == Errc::invalid_parameter && f.parameter == Parameter::fingerprint);
    }
}

void an_absurd_sample_rate_needs_no_absurd_memory(void**) {
    // 20,000 seconds at 1 Hz: 160 million samples at 8 kHz, a few kilobytes of file.
    const auto file = test::sound_file(wav16, 1, 1, std::vector<float>(20'000, 0.1F));
    int asked = 0;
    const auto stopped = run(file, {.stop = [&asked] { return ++asked > 100; }});
    assert_true(!stopped && stopped.failure().code == Errc::cancelled);
    const auto tiny = test::sound_file(wav16, 1, 1, std::vector<float>(60, 0.1F));
    assert_int_equal(record(run(tiny, {})).duration_ms, 60'000);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(identify_hands_on_the_clip_and_what_was_asked),
        cmocka_unit_test(any_sample_rate_gives_nearly_the_same_peaks),
        cmocka_unit_test(bad_parameters_are_named_before_anything_is_decoded),
        cmocka_unit_test(a_track_is_measured_with_its_labels),
        cmocka_unit_test(a_json_body_names_the_track_only_where_nginx_made_the_id),
        cmocka_unit_test(a_fingerprint_can_be_identified_later),
        cmocka_unit_test(an_absurd_sample_rate_needs_no_absurd_memory),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
