// POST /v1/identify and /v1/monitor, the worker's part: a fingerprint of the clip or recording, for
// the librarian to search.
#include <limits>
#include <nlohmann/json.hpp>

#include "catalog/record.hpp"
#include "fingerprint/packing.hpp"
#include "worker/landmark_intake.hpp"
#include "worker/operations_table.hpp"
#include "worker/parameters.hpp"

namespace sonogate::worker {
namespace {

Result<void> read_max_false_positive(const shm::Params& params, catalog::Record& record) {
    const auto most =
        number_of(params, Parameter::max_false_positive, std::numeric_limits<double>::min(), 1.0);
    if (!most) {
        return most.failure();
    }
    record.max_false_positive = most->value_or(catalog::default_max_false_positive);
    return {};
}

Result<catalog::Record> read_parameters(const shm::Params& params) {
    catalog::Record record;
    const auto limit = integer_of(params, Parameter::limit, 1, catalog::max_matches);
    if (!limit) {
        return limit.failure();
    }
    if (auto read = read_max_false_positive(params, record); !read) {
        return read.failure();
    }
    const auto multi = flag_of(params, Parameter::multi);
    if (!multi) {
        return multi.failure();
    }
    record.limit = static_cast<std::uint32_t>(limit->value_or(catalog::default_matches));
    record.multi = multi->value_or(false);
    return record;
}

// A client that fingerprinted its clip earlier: there is no audio to tell about but its length.
Result<void> take_ready_fingerprint(const std::vector<std::byte>& packed, shm::AudioFacts& facts,
                                    catalog::Record& record) {
    const auto ready = fingerprint::unpack(packed);
    if (!ready) {
        return invalid(Parameter::fingerprint);
    }
    record.duration_ms = ready->duration_ms;
    record.audio = nlohmann::json{{"duration_s", ready->duration_ms / 1000.0}}.dump();
    record.fingerprint = packed;
    facts.duration_ms = ready->duration_ms;
    return {};
}

Result<Answer> take_clip(Tools& tools, const Input& input, catalog::Record& record) {
    auto taken = take_landmarks(tools, input, fingerprint::Density::clip);
    if (!taken) {
        return taken.failure();
    }
    return put(std::move(*taken), record);
}

}  // namespace

Result<Answer> run_identify(Tools& tools, const Input& input) {
    auto record = read_parameters(input.envelope.params);
    if (!record) {
        return record.failure();
    }
    Answer answer;
    if (const auto& ready = input.envelope.fingerprint) {
        if (!input.envelope.audio.empty()) {
            return invalid(Parameter::fingerprint);  // one or the other
        }
        if (auto took = take_ready_fingerprint(*ready, input.facts, *record); !took) {
            return took.failure();
        }
    } else {
        auto taken = take_clip(tools, input, *record);
        if (!taken) {
            return taken;
        }
        answer = std::move(*taken);
    }
    answer.body = catalog::pack(*record);
    answer.audio = input.facts;
    return answer;
}

Result<Answer> run_monitor(Tools& tools, const Input& input) {
    catalog::Record record;
    if (auto read = read_max_false_positive(input.envelope.params, record); !read) {
        return read.failure();
    }
    auto answer = take_clip(tools, input, record);
    if (answer) {
        answer->body = catalog::pack(record);
        answer->audio = input.facts;
    }
    return answer;
}

}  // namespace sonogate::worker
