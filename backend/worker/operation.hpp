// The one door between a worker process and what it can do: a job in, an answer out.
//
// For: worker/run.cpp, which moves jobs between shared memory and here. Not for: processes, rings,
// descriptors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "dsp/fft.hpp"
#include "shm/channel_layout.hpp"

namespace sonogate::worker {

// A job as this process sees it. `params` is packed (shm/params.hpp); `body` is the audio file or
// the JSON body. Both are borrowed for the length of run() and may lie in read-only shared memory
// that only the broker writes; a large `body` is nginx's memfd, whose bytes a lying peer could
// change while we read.
struct Request {
    shm::Job job;
    Bytes params;
    Bytes body;
    std::function<bool()>
        stop_requested;  // cheap; asked between blocks; true = the answer is not wanted any more
    // Told once, where the header tells it: samples of all channels that will be decoded. False:
    // they are too many for this worker, give up with `cancelled`. May be empty.
    std::function<bool(shm::AudioFormat format, std::uint64_t samples)> expect;
};

// What the client, or the librarian, gets. For analyze and fingerprint `body` is the JSON object
// that the client gets (without request_id, timing_ms, cache); for identify, monitor and
// track_create it is a packed catalog::Record.
struct Answer {
    std::uint16_t status = 200;
    std::string body;
    shm::StageTimes times;  // decode_us, compute_us
    shm::AudioFacts audio;
    std::uint64_t decoded_frames = 0;
};

// Everything a worker makes once and keeps: FFT plans, buffers.
class Operations {
  public:
    Operations();
    ~Operations();
    Operations(const Operations&) = delete;
    Operations& operator=(const Operations&) = delete;

    // For the zygote, which fills them before it clones anybody.
    dsp::FftPlans& plans();

    // Runs one job to its end on the calling thread. Never throws: what the libraries throw becomes
    // job_too_large (bad_alloc) or internal. Errors: those of api.md for the endpoint; cancelled
    // where stop_requested() said so. `facts` is filled as far as the job came, also on failure.
    Result<Answer> run(const Request& request, shm::AudioFacts& facts) noexcept;

  private:
    Result<Answer> run_once(const Request& request, shm::AudioFacts& facts);

    struct Tools;
    std::unique_ptr<Tools> tools_;
};

}  // namespace sonogate::worker
