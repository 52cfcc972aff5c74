// POST /v1/fingerprint: the fingerprint of a clip, for a client that identifies it later.
#include <openssl/evp.h>

#include <nlohmann/json.hpp>

#include "fingerprint/packing.hpp"
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

}  // namespace

Result<Answer> run_fingerprint(Tools& tools, const Input& input) {
    if (input.envelope.params.get(Parameter::algorithm).value_or("landmark") != "landmark") {
        return invalid(Parameter::algorithm);
    }
    auto taken = take_landmarks(tools, input, fingerprint::Density::clip);
    if (!taken) {
        return taken.failure();
    }
    const nlohmann::ordered_json body = {
        {"kind", "fingerprint"},
        {"algorithm", "landmark"},
        {"version", fingerprint::packing_version},
        {"audio", nlohmann::ordered_json::parse(taken->audio)},
        {"duration_s", static_cast<double>(taken->duration_ms) / 1000},
        {"peaks", taken->fingerprint.peaks.size()},
        {"fingerprint", base64(fingerprint::pack(taken->fingerprint))}};
    Answer answer;
    answer.body = body.dump();
    answer.times = taken->times;
    answer.audio = input.facts;
    answer.decoded_frames = taken->decoded_frames;
    return answer;
}

}  // namespace sonogate::worker
