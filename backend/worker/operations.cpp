// The dispatcher: a job's wrapping undone, its operation run, whatever the libraries throw turned
// into an error.
#include <new>

#include "base/heap.hpp"
#include "worker/operation.hpp"
#include "worker/operations_table.hpp"

namespace sonogate::worker {

namespace {

using Run = Result<Answer> (*)(Tools& tools, const Input& input);

struct Row {
    shm::Endpoint endpoint;
    Run run;
    bool takes_fingerprint;  // a JSON body may bring a fingerprint instead of audio
};

constexpr Row operations[] = {
    {shm::Endpoint::analyze, run_analyze, false},
    {shm::Endpoint::identify, run_identify, true},
    {shm::Endpoint::monitor, run_monitor, false},
    {shm::Endpoint::fingerprint, run_fingerprint, false},
    {shm::Endpoint::track_create, run_track_create, false},
};

Result<Answer> run_row(const Row& row, Tools& tools, const Request& request,
                       shm::AudioFacts& facts) {
    const auto envelope = open_envelope(request);
    if (!envelope) {
        return envelope.failure();
    }
    if (envelope->audio.empty() && !(row.takes_fingerprint && envelope->fingerprint)) {
        return Errc::missing_audio;
    }
    return row.run(tools, Input{request, *envelope, facts});
}

}  // namespace

struct Operations::Tools : worker::Tools {};

Operations::Operations() = default;
Operations::~Operations() = default;

dsp::FftPlans& Operations::plans() {
    if (!tools_) {
        tools_ = std::make_unique<Tools>();
    }
    return tools_->ffts;
}

Result<Answer> Operations::run(const Request& request, shm::AudioFacts& facts) noexcept {
    try {
        return run_once(request, facts);
    } catch (const std::bad_alloc&) {
    } catch (...) {
        return Errc::internal;
    }
    // Perhaps it was what earlier jobs left here that filled the memory.
    try {
        tools_ = nullptr;
        give_pages_back();
        return run_once(request, facts);
    } catch (const std::bad_alloc&) {
        return Failure{.code = Errc::job_too_large, .limit = request.job.job_memory_bytes};
    } catch (...) {
        return Errc::internal;
    }
}

Result<Answer> Operations::run_once(const Request& request, shm::AudioFacts& facts) {
    (void)plans();
    // A transform of a whole file is as large as the file, and the next one has another length.
    const std::unique_ptr<Tools, void (*)(Tools*)> end(tools_.get(),
                                                       [](Tools* tools) { tools->ffts.end_use(); });
    for (const Row& row : operations) {
        if (row.endpoint == request.job.endpoint) {
            return run_row(row, *tools_, request, facts);
        }
    }
    return Errc::internal;  // the broker sends a worker nothing else
}

}  // namespace sonogate::worker
