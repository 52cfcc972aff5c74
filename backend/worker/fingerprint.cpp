// POST /v1/fingerprint: the fingerprint of a clip, for a client that identifies it later.
#include <openssl/evp.h>

#include <nlohmann/json.hpp>

#include "fingerprint/packing.hpp"
#include "worker/chromaprint.hpp"
#include "worker/landmark_intake.hpp"
#include "worker/operations_table.hpp"

namespace sonogate::worker {
namespace {

std::string base64(Bytes bytes) {
    std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // EVP writes a terminator
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
    out.resize(static_cast<std::size_t>(size));
    return out;
}

Answer answer_of(const nlohmann::ordered_json& body, const ResampledIntake& taken,
                 const Input& input) {
    Answer answer;
    answer.body = body.dump();
    answer.times = taken.times;
    answer.audio = input.facts;
    answer.decoded_frames = taken.decoded_frames;
    return answer;
}

nlohmann::ordered_json body_of(std::string_view algorithm, int version,
                               const ResampledIntake& taken) {
    return {{"kind", "fingerprint"},
            {"algorithm", algorithm},
            {"version", version},
            {"audio", nlohmann::ordered_json::parse(taken.audio)},
            {"duration_s", static_cast<double>(taken.duration_ms) / 1000}};
}

Result<Answer> run_landmark(Tools& tools, const Input& input) {
    const auto taken = take_landmarks(tools, input, fingerprint::Density::clip);
    if (!taken) {
        return taken.failure();
    }
    auto body = body_of("landmark", fingerprint::packing_version, *taken);
    body["peaks"] = taken->fingerprint.peaks.size();
    body["fingerprint"] = base64(fingerprint::pack(taken->fingerprint));
    return answer_of(body, *taken, input);
}

Result<Answer> run_chromaprint(const Input& input) {
    const auto taken = take_chromaprint(input);
    if (!taken) {
        return taken.failure();
    }
    auto body = body_of("chromaprint", chromaprint_algorithm, *taken);
    body["fingerprint"] = taken->fingerprint;
    return answer_of(body, *taken, input);
}

}  // namespace

Result<Answer> run_fingerprint(Tools& tools, const Input& input) {
    const auto algorithm = input.envelope.params.get(Parameter::algorithm).value_or("landmark");
    if (algorithm == "landmark") {
        return run_landmark(tools, input);
    }
    return algorithm == "chromaprint" ? run_chromaprint(input) : invalid(Parameter::algorithm);
}

}  // namespace sonogate::worker
