#include "worker/run.hpp"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/clock.hpp"
#include "base/heap.hpp"
#include "log/log.hpp"
#include "shm/channel.hpp"
#include "worker/meter.hpp"
#include "worker/operation.hpp"

namespace sonogate::worker {

namespace {

constexpr std::uint64_t heap_figures_each_ns = 1'000'000'000;

// Private memory that this process has mapped writable, as RLIMIT_DATA counts it.
std::uint64_t data_bytes() {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"),
                                                               &std::fclose);
    unsigned long data_pages = 0;
    // NOLINTNEXTLINE(cert-err34-c): the kernel's numbers
    if (!file || std::fscanf(file.get(), "%*u %*u %*u %*u %*u %lu", &data_pages) != 1) {
        return 0;
    }
    return data_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// Bounds what a job may allocate beyond what the process started with. An address-space limit would
// forbid mapping a large upload; RLIMIT_DATA counts private memory only.
class MemoryBound {
  public:
    void set(std::uint64_t job_memory_bytes) {
        if (job_memory_bytes == current_bytes_ || start_bytes_ == 0) {
            return;
        }
        rlimit limit{};
        ::getrlimit(RLIMIT_DATA, &limit);
        limit.rlim_cur = job_memory_bytes == 0
                             ? limit.rlim_max
                             : std::min<rlim_t>(limit.rlim_max, start_bytes_ + job_memory_bytes);
        if (::setrlimit(RLIMIT_DATA, &limit) == 0) {
            current_bytes_ = job_memory_bytes;
        }
    }

  private:
    std::uint64_t start_bytes_ = data_bytes();
    std::uint64_t current_bytes_ = 0;
};

class WorkerProcess {
  public:
    explicit WorkerProcess(shm::ChildChannel channel) : channel_(std::move(channel)) {}

    int serve() {
        publish_heap();
        shm::ReceivedJob received;
        while (channel_.next(received)) {
            log::set_level(channel_.log_level());
            memory_.set(received.job.job_memory_bytes);
            if (!answer(received)) {
                return 1;
            }
            received.file = shm::Mapping();
            publish_heap();
        }
        return 0;
    }

  private:
    bool answer(const shm::ReceivedJob& received) {
        using Verdict = Meter::Verdict;
        Meter meter(received.job);
        const Request request{.job = received.job,
                              .params = received.params,
                              .body = received.body,
                              .stop_requested =
                                  [&] {
                                      return channel_.stop_requested(received.job) ||
                                             meter.look() != Verdict::goes_on;
                                  },
                              .expect =
                                  [&](auto format, auto samples) {
                                      return meter.expect(format, samples) == Verdict::goes_on;
                                  }};
        shm::JobDone done;
        done.number = received.job.number;
        auto result = operations_.run(request, done.audio);
        log::about(received.job.request_id, spdlog::level::debug, "worked on: {}",
                   result ? "done" : problem_of(result.failure().code).type);
        meter.report(done);
        if (!result && result.failure().code == Errc::cancelled) {
            return give_up(done, received.job, meter.verdict());
        }
        if (result && result->body.size() > received.job.result_bytes) {
            return static_cast<bool>(channel_.fail(done, {.code = Errc::job_too_large,
                                                          .limit = received.job.result_bytes,
                                                          .value = result->body.size()}));
        }
        if (result) {
            done.status = result->status;
            done.times = result->times;
            done.audio = result->audio;
            done.decoded_frames = result->decoded_frames;
            return finish(received, done, as_bytes_of(result->body));
        }
        return static_cast<bool>(channel_.fail(done, result.failure()));
    }

    bool give_up(shm::JobDone& done, const shm::Job& job, Meter::Verdict why) {
        Failure failure{.code = Errc::cancelled};
        if (why == Meter::Verdict::too_much_cpu) {
            failure = {
                .code = Errc::job_too_large, .limit = job.cpu_ms, .value = done.cpu_us / 1000U};
        }
        done.is_long = why == Meter::Verdict::is_long ? 1 : 0;
        return static_cast<bool>(channel_.fail(done, failure));
    }

    bool finish(const shm::ReceivedJob& received, shm::JobDone& done, Bytes body) {
        auto sent = channel_.complete(done, body);
        if (!sent && sent.failure().code == Errc::internal) {
            // No memory for a result file: the job fails, the worker goes on.
            log::about(received.job.request_id, spdlog::level::warn,
                       "result of {} bytes not delivered, errno {}", body.size(),
                       sent.failure().error);
            sent = channel_.fail(done, sent.failure());
        }
        return static_cast<bool>(sent);
    }

    void publish_heap() {
        const std::uint64_t now = now_ns();
        if (now - heap_at_ns_ < heap_figures_each_ns) {
            return;
        }
        heap_at_ns_ = now;
        const HeapFigures figures = heap_figures();
        auto& published = channel_.published();
        published.allocated_bytes.store(figures.allocated_bytes, std::memory_order_relaxed);
        published.resident_bytes.store(figures.resident_bytes, std::memory_order_relaxed);
    }

    shm::ChildChannel channel_;
    Operations operations_;
    MemoryBound memory_;
    std::uint64_t heap_at_ns_ = 0;
};

}  // namespace

int run_worker(UniqueFd channel) {
    auto opened = shm::ChildChannel::open(std::move(channel));
    if (!opened) {
        if (opened.failure().code != Errc::backend_unavailable) {
            spdlog::error("worker: channel not opened, errno {}", opened.failure().error);
        }
        return opened.failure().code == Errc::backend_unavailable ? 0 : 1;
    }
    return WorkerProcess(std::move(*opened)).serve();
}

}  // namespace sonogate::worker
