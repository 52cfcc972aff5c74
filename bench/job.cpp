// The CPU time of a job alone: the same operation on the same bytes, without nginx, broker or
// rings.
//
//   bench_job BODY_FILE SECONDS [NAME=VALUE...]
//
// Prints the microseconds of CPU time an analyze of BODY_FILE takes in one process. What
// bench/transport.py subtracts to get the transport's share.
#include <time.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "shm/params.hpp"
#include "worker/operation.hpp"

namespace {

double cpu_us() {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: bench_job BODY_FILE SECONDS [NAME=VALUE...]\n");
        return 2;
    }
    std::ifstream file(argv[1], std::ios::binary);
    const std::string body((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    std::array<std::byte, 4096> memory;
    sonogate::shm::ParamsWriter params(memory);
    for (int i = 3; i < argc; ++i) {
        const std::string_view text(argv[i]);
        const std::size_t equals = text.find('=');
        const auto parameter = sonogate::parameter_of(text.substr(0, equals));
        if (equals == std::string_view::npos || parameter == sonogate::Parameter::none ||
            !params.add(parameter, text.substr(equals + 1))) {
            std::fprintf(stderr, "bench_job: %s is no parameter\n", argv[i]);
            return 2;
        }
    }
    sonogate::worker::Operations operations;
    sonogate::worker::Request request;
    request.job.endpoint = sonogate::shm::Endpoint::analyze;
    request.job.body = sonogate::shm::BodyKind::raw;
    request.job.job_memory_bytes = 512U << 20U;
    request.params = sonogate::Bytes(memory).first(params.size());
    request.body = sonogate::as_bytes_of(body);
    request.stop_requested = [] { return false; };

    std::uint64_t jobs = 0;
    double start_us = 0;
    const std::uint64_t begin_ms = sonogate::now_ms();
    const auto limit_ms = static_cast<std::uint64_t>(std::atof(argv[2]) * 1e3);
    while (jobs < 3 || sonogate::now_ms() - begin_ms < limit_ms) {
        if (jobs == 1) {
            start_us = cpu_us();  // the first one makes plans and buffers
        }
        sonogate::shm::AudioFacts facts;
        const auto answer = operations.run(request, facts);
        if (!answer) {
            std::fprintf(stderr, "bench_job: the job fails with code %d\n",
                         static_cast<int>(answer.failure().code));
            return 1;
        }
        ++jobs;
    }
    std::printf("%.3f\n", (cpu_us() - start_us) / static_cast<double>(jobs - 1));
    return 0;
}
