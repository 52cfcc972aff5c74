// A JSON body from anybody.
#include "worker/envelope.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    sonogate::worker::Request request;
    request.job.endpoint = sonogate::shm::Endpoint::analyze;
    request.job.body = sonogate::shm::BodyKind::json;
    request.job.job_memory_bytes = 64U << 20U;
    request.body = std::as_bytes(std::span(data, size));
    request.stop_requested = [] { return false; };
    if (const auto envelope = sonogate::worker::open_envelope(request)) {
        if (envelope->audio.size() > size) {
            __builtin_trap();
        }
    }
    return 0;
}
