// The life of a worker process: take a job, run it, answer, sleep.
//
// For: the zygote's children. Not for: what a job does (operation.hpp), nor for when a worker ends
// other than by its broker's death.
#pragma once

#include <cstdint>

#include "shm/channel.hpp"
#include "worker/operation.hpp"

namespace sonogate::worker {

// Serves the channel with what the zygote made ready until the broker is gone; `layers` is what the
// process is confined by, for the broker. The exit status: 0, or 1 where the channel broke.
int run_worker(shm::ChildChannel channel, std::uint32_t layers, Operations& operations);

}  // namespace sonogate::worker
