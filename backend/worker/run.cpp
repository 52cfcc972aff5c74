#include "worker/run.hpp"

#include <utility>

#include "base/clock.hpp"
#include "base/heap.hpp"
#include "sandbox/filter.hpp"
#include "shm/channel.hpp"
#include "worker/meter.hpp"
#include "worker/operation.hpp"

namespace sonogate::worker {

namespace {

constexpr std::uint64_t heap_figures_each_ns = 1'000'000'000;

class WorkerProcess {
  public:
    WorkerProcess(shm::ChildChannel channel, Operations& operations)
        : channel_(std::move(channel)), operations_(operations) {}

    int serve() {
        publish_heap();
        shm::ReceivedJob received;
        while (channel_.next(received)) {
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
            return finish(done, as_bytes_of(result->body));
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

    bool finish(shm::JobDone& done, Bytes body) {
        auto sent = channel_.complete(done, body);
        if (!sent && sent.failure().code == Errc::internal) {
            // No memory for a result file: the job fails, the worker goes on.
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
    Operations& operations_;
    std::uint64_t heap_at_ns_ = 0;
};

}  // namespace

int run_worker(shm::ChildChannel channel, std::uint32_t layers, Operations& operations) {
    auto& published = channel.published();
    sandbox::count_refused_calls_in(published.refused_calls, published.refused_call);
    if (const auto met = channel.meet(layers); !met) {
        return met.failure().code == Errc::backend_unavailable ? 0 : 1;
    }
    return WorkerProcess(std::move(channel), operations).serve();
}

}  // namespace sonogate::worker
