// The operations of a worker, one a file: what operations.cpp dispatches to.
//
// For: operations.cpp and the operations. Not for: anybody outside worker/ (operation.hpp is the
// door).
#pragma once

#include "dsp/fft.hpp"
#include "shm/params.hpp"
#include "worker/envelope.hpp"
#include "worker/operation.hpp"

namespace sonogate::worker {

// What a worker makes once and keeps.
struct Tools {
    dsp::FftPlans ffts;
};

// A job with its wrapping undone. All borrowed for the length of the operation.
struct Input {
    const Request& request;
    const Envelope& envelope;
    shm::AudioFacts& facts;  // fill as far as the job comes (Intake does)
};

Result<Answer> run_analyze(Tools& tools, const Input& input);       // analyze.cpp
Result<Answer> run_identify(Tools& tools, const Input& input);      // identify.cpp
Result<Answer> run_monitor(Tools& tools, const Input& input);       // identify.cpp
Result<Answer> run_fingerprint(Tools& tools, const Input& input);   // fingerprint.cpp
Result<Answer> run_track_create(Tools& tools, const Input& input);  // track_create.cpp

}  // namespace sonogate::worker
