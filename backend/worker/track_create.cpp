// POST /v1/tracks, the worker's part: what is enrolled, measured, and checked before decoding.
#include <algorithm>

#include "catalog/record.hpp"
#include "worker/landmark_intake.hpp"
#include "worker/operations_table.hpp"

namespace sonogate::worker {
namespace {

// The librarian checks all this again; here it saves decoding what would be refused.
Result<void> check_track_id(const Input& input, catalog::Record& record) {
    const shm::Job& job = input.request.job;
    const auto own = input.envelope.params.get(Parameter::track_id);
    const bool made = (job.flags & shm::job_track_id_made) != 0;
    const std::string_view given(job.track_id.data.data(),
                                 std::min<std::size_t>(job.track_id.size, shm::text_bytes));
    if (!catalog::is_track_id(made && own ? *own : given)) {
        return invalid(Parameter::track_id);
    }
    record.track_id = made && own ? *own : std::string_view{};
    return {};
}

Result<void> read_labels(const shm::Params& params, catalog::LabelChanges& labels) {
    for (const Parameter parameter : catalog::label_parameters) {
        if (const auto text = params.get(parameter)) {
            auto label = catalog::make_label(parameter, *text);
            if (!label) {
                return label.failure();
            }
            *labels.of(parameter) = *std::move(label);
        }
    }
    return {};
}

}  // namespace

Result<Answer> run_track_create(Tools& tools, const Input& input) {
    catalog::Record record;
    if (auto checked = check_track_id(input, record); !checked) {
        return checked.failure();
    }
    if (auto read = read_labels(input.envelope.params, record.labels); !read) {
        return read.failure();
    }
    auto taken = take_landmarks(tools, input, fingerprint::Density::track);
    if (!taken) {
        return taken.failure();
    }
    Answer answer = put(std::move(*taken), record);
    answer.body = catalog::pack(record);
    answer.audio = input.facts;
    return answer;
}

}  // namespace sonogate::worker
