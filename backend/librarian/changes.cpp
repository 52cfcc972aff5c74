#include "librarian/changes.hpp"

#include <spdlog/spdlog.h>

#include <chrono>
#include <stdexcept>
#include <utility>

#include "catalog/record.hpp"
#include "fingerprint/packing.hpp"
#include "librarian/answers.hpp"
#include "librarian/label_patch.hpp"
#include "log/log.hpp"

namespace sonogate::librarian {
namespace {

// Memory of the index goes with a track's length, which a worker may lie about.
constexpr std::uint32_t max_track_ms = 24 * 3600 * 1000;

std::int64_t wall_clock_ms() {
    using std::chrono::duration_cast;
    using std::chrono::milliseconds;
    return duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// nginx made an id where the request had none; then a JSON body's own counts.
std::string_view effective_id(const Request& request, const catalog::Record& record) {
    const bool made = (request.job.flags & shm::job_track_id_made) != 0;
    return made && !record.track_id.empty() ? std::string_view(record.track_id)
                                            : view_of(request.job.track_id);
}

Answer track_answer(std::uint16_t status, const catalog::Track& track) {
    Answer answer;
    answer.status = status;
    answer.body = track_body(track);
    answer.track_id = text_of(track.id);
    answer.etag = etag_of(answer.body);
    return answer;
}

Answer removed_answer() {
    Answer answer;
    answer.status = 204;
    return answer;
}

// An enrolment as far as it can be judged without the store.
Result<catalog::Track> read_enrolment(const Request& request) {
    auto record = catalog::unpack_record(request.record);
    if (!record) {
        return record.failure();
    }
    const std::string_view id = effective_id(request, *record);
    if (!catalog::is_track_id(id)) {
        return invalid(Parameter::track_id);
    }
    const auto fingerprint = fingerprint::unpack(record->fingerprint);
    if (!fingerprint || fingerprint->density != fingerprint::Density::track ||
        record->sha256.empty()) {
        return Errc::internal;  // no honest worker writes such a record
    }
    if (fingerprint::is_too_short(*fingerprint)) {
        return Failure{.code = Errc::too_short,
                       .limit = fingerprint::min_duration_ms,
                       .value = fingerprint->duration_ms};
    }
    if (fingerprint->duration_ms > max_track_ms) {
        return Failure{
            .code = Errc::audio_too_long, .limit = max_track_ms, .value = fingerprint->duration_ms};
    }
    if (fingerprint::is_silent(*fingerprint)) {
        return Errc::silent;
    }
    return catalog::Track{.row = 0,
                          .id = std::string(id),
                          .labels = record->labels.applied_to({}),
                          .duration_ms = record->duration_ms,
                          .sha256 = std::move(record->sha256),
                          .hashes = catalog::count_hashes(*fingerprint),
                          .created_at_ms = wall_clock_ms(),
                          .job_key = request.job.job_key,
                          .fingerprint = std::move(record->fingerprint)};
}

}  // namespace

std::vector<Result<Answer>> Changes::apply(const std::vector<Request>& requests) {
    Batch batch;
    const auto together = apply_at_once(requests, batch);
    if (together) {
        return std::move(batch.answers);
    }
    if (requests.size() == 1) {
        return {Result<Answer>(together.failure())};
    }
    // One of them may be what the store cannot take: each on its own.
    std::vector<Result<Answer>> answers;
    for (const Request& request : requests) {
        Batch single;
        const auto done = apply_at_once({&request, 1}, single);
        answers.push_back(done ? std::move(single.answers.front()) : done.failure());
    }
    return answers;
}

Result<void> Changes::apply_at_once(std::span<const Request> requests, Batch& batch) {
    Failure failure;
    try {
        auto step = writer_.begin();
        for (std::size_t i = 0; step && i < requests.size(); ++i) {
            Outcome outcome = change(requests[i], batch);
            if (outcome) {
                batch.answers.push_back(std::move(*outcome));
            } else {
                step = outcome.failure();
            }
        }
        step = step ? commit(batch) : step;
        if (step) {
            return {};
        }
        failure = step.failure();
    } catch (const std::length_error&) {
        failure.code = Errc::insufficient_storage;  // the index holds no more
    } catch (const std::bad_alloc&) {
        failure.code = Errc::insufficient_storage;
    }
    writer_.rollback();
    for (const Request& request : requests) {
        log::about(request.job.request_id, spdlog::level::err, "change not stored: {}, errno {}",
                   problem_of(failure.code).type, failure.error);
    }
    return failure;
}

// The next index is made before the commit, which is the last thing that can fail.
Result<void> Changes::commit(Batch& batch) {
    Picture next = gallery_.newest();
    next.index = next.index->with(batch.additions, batch.removals);
    const auto version = writer_.version();
    if (!version) {
        return version.failure();
    }
    next.version = *version;
    if (auto committed = writer_.commit(); !committed) {
        return committed;
    }
    gallery_.publish(std::move(next));
    return {};
}

Changes::Outcome Changes::change(const Request& request, Batch& batch) {
    if ((request.job.flags & shm::job_catalog_write) == 0) {
        return Outcome(Result<Answer>(Errc::forbidden));
    }
    switch (request.job.endpoint) {
        case shm::Endpoint::track_create:
            return enrol(request, batch);
        case shm::Endpoint::track_patch:
            return relabel(request);
        case shm::Endpoint::track_delete:
            return remove(request, batch);
        default:
            return Outcome(Result<Answer>(Errc::internal));
    }
}

Changes::Outcome Changes::enrol(const Request& request, Batch& batch) {
    auto track = read_enrolment(request);
    if (!track) {
        return Outcome(Result<Answer>(track.failure()));
    }
    const auto found = writer_.find(track->id);
    if (!found) {
        return found.failure();
    }
    if (*found) {
        const catalog::Track& there = **found;
        if (there.job_key == request.job.job_key && there.job_key != catalog::no_job_key) {
            return Outcome(track_answer(201, there));  // this very request, sent again
        }
        if (there.sha256 == track->sha256) {
            return Outcome(track_answer(200, there));
        }
        return Outcome(Result<Answer>(Errc::track_exists));
    }
    const auto row = writer_.insert(*track);
    if (!row) {
        return row.failure();
    }
    batch.additions.push_back(
        {*row, std::make_shared<const std::vector<std::byte>>(std::move(track->fingerprint))});
    return Outcome(track_answer(201, *track));
}

Changes::Outcome Changes::relabel(const Request& request) {
    const std::string_view id = view_of(request.job.track_id);
    const auto found = writer_.find(id);
    if (!found) {
        return found.failure();
    }
    if (!*found) {
        return Outcome(Result<Answer>(Errc::not_found));
    }
    const auto patch = read_label_patch(request.params, request.record, id);
    if (!patch) {
        return Outcome(Result<Answer>(patch.failure()));
    }
    catalog::Track track = **found;
    catalog::Labels labels = patch->applied_to(track.labels);
    if (labels != track.labels) {
        track.labels = std::move(labels);
        if (auto done = writer_.relabel(track.row, track.labels); !done) {
            return done.failure();
        }
    }
    return Outcome(track_answer(200, track));
}

Changes::Outcome Changes::remove(const Request& request, Batch& batch) {
    const std::string_view id = view_of(request.job.track_id);
    const auto found = writer_.find(id);
    if (!found) {
        return found.failure();
    }
    if (*found) {
        if (auto done = writer_.remove(**found, request.job.job_key, wall_clock_ms()); !done) {
            return done.failure();
        }
        batch.removals.push_back((*found)->row);
        return Outcome(removed_answer());
    }
    if (request.job.job_key != catalog::no_job_key) {
        const auto before = writer_.was_removed_by(id, request.job.job_key);
        if (!before) {
            return before.failure();
        }
        if (*before) {
            return Outcome(removed_answer());  // this very request, sent again
        }
    }
    return Outcome(Result<Answer>(Errc::not_found));
}

}  // namespace sonogate::librarian
