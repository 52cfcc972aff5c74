#include "librarian/run.hpp"

#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <mutex>
#include <utility>

#include "base/clock.hpp"
#include "base/heap.hpp"
#include "log/log.hpp"
#include "shm/channel.hpp"

namespace sonogate::librarian {

namespace {

constexpr int publish_each_ms = 1000;

// Answers on their way from the service's threads to the one that owns the channel.
class Outbox {
  public:
    struct Entry {
        std::uint64_t number;
        Result<Answer> answer;
    };

    void put(std::uint64_t number, Result<Answer> answer) {
        {
            const std::lock_guard lock(mutex_);
            entries_.push_back({number, std::move(answer)});
        }
        const std::uint64_t one = 1;
        (void)!::write(wake_.get(), &one, sizeof(one));
    }

    std::deque<Entry> take_all() {
        std::uint64_t count = 0;
        (void)!::read(wake_.get(), &count, sizeof(count));
        const std::lock_guard lock(mutex_);
        return std::exchange(entries_, {});
    }

    int wake_fd() const noexcept { return wake_.get(); }

  private:
    UniqueFd wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};  // within this process
    std::mutex mutex_;
    std::deque<Entry> entries_;
};

class LibrarianProcess {
  public:
    explicit LibrarianProcess(shm::ChildChannel channel) : channel_(std::move(channel)) {}

    int serve(const Service::Config& config) {
        publish_state(shm::PartState::starting);
        Service::Config wired = config;
        wired.progress = [this](std::uint64_t tracks) {
            channel_.published().catalog_tracks.store(tracks, std::memory_order_relaxed);
            channel_.announce();
        };
        wired.is_cancelled = [this](std::uint64_t number) { return channel_.is_cancelled(number); };
        auto service = Service::open(wired);
        if (!service) {
            spdlog::error("librarian: catalog {} does not open: {}", config.store,
                          problem_of(service.failure().code).title);
            return 1;
        }
        service_ = std::move(*service);
        // From here on it outlives the others as long as it takes to commit.
        ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
        publish_figures();
        publish_state(shm::PartState::ready);
        const int status = loop();
        service_->stop();
        return status;
    }

  private:
    int loop() {
        for (;;) {
            log::set_level(channel_.log_level());
            const bool sent = send_answers();
            const bool took = take_jobs();
            if (broken_) {
                return 1;
            }
            if (sent || took) {
                continue;
            }
            channel_.arm();
            if (take_jobs()) {
                channel_.disarm();
                continue;
            }
            std::array<pollfd, 2> waits{
                {{channel_.socket(), POLLIN, 0}, {outbox_.wake_fd(), POLLIN, 0}}};
            const int ready = ::poll(waits.data(), waits.size(), publish_each_ms);
            channel_.disarm();
            if (ready == 0) {
                publish_figures();
            }
            if (waits[0].revents != 0) {
                const shm::Received received = channel_.receive(false);
                if (received == shm::Received::closed || received == shm::Received::lie) {
                    return received == shm::Received::closed ? 0 : 1;
                }
            }
        }
    }

    bool take_jobs() {
        bool any = false;
        shm::ReceivedJob received;
        while (channel_.take(received)) {
            any = true;
            Request request{.job = received.job,
                            .params = {received.params.begin(), received.params.end()},
                            .record = {received.body.begin(), received.body.end()}};
            service_->submit(std::move(request),
                             [this](std::uint64_t number, Result<Answer> answer) {
                                 outbox_.put(number, std::move(answer));
                             });
        }
        return any;
    }

    bool send_answers() {
        auto entries = outbox_.take_all();
        if (entries.empty()) {
            return false;
        }
        publish_figures();  // a track's version is out before the answer that made it
        for (const auto& entry : entries) {
            if (!send(entry)) {
                broken_ = true;
            }
        }
        return true;
    }

    bool send(const Outbox::Entry& entry) {
        shm::JobDone done;
        done.number = entry.number;
        if (entry.answer) {
            done.status = entry.answer->status;
            done.etag = entry.answer->etag;
            done.times.search_us = entry.answer->search_us;
            done.track_id = entry.answer->track_id;
            const auto sent = channel_.complete(done, as_bytes_of(entry.answer->body));
            if (sent || sent.failure().code != Errc::internal) {
                return static_cast<bool>(sent);
            }
            // No memory for a result file: the job fails, we go on.
            return static_cast<bool>(channel_.fail(done, sent.failure()));
        }
        return static_cast<bool>(channel_.fail(done, entry.answer.failure()));
    }

    void publish_state(shm::PartState state) {
        channel_.published().catalog_state.store(static_cast<std::uint64_t>(state),
                                                 std::memory_order_relaxed);
        channel_.announce();
    }

    void publish_figures() {
        const Stats stats = service_->stats();
        auto& out = channel_.published();
        out.catalog_version.store(stats.version, std::memory_order_relaxed);
        out.catalog_tracks.store(stats.tracks, std::memory_order_relaxed);
        out.catalog_hashes.store(stats.hashes, std::memory_order_relaxed);
        out.queries.store(stats.queries, std::memory_order_relaxed);
        out.queries_matched.store(stats.queries_matched, std::memory_order_relaxed);
        if (const std::uint64_t now = now_ms(); now - heap_at_ms_ >= publish_each_ms) {
            heap_at_ms_ = now;
            const HeapFigures heap = heap_figures();
            out.allocated_bytes.store(heap.allocated_bytes, std::memory_order_relaxed);
            out.resident_bytes.store(heap.resident_bytes, std::memory_order_relaxed);
        }
    }

    shm::ChildChannel channel_;
    Outbox outbox_;  // outlives the service, whose threads put into it
    std::unique_ptr<Service> service_;
    std::uint64_t heap_at_ms_ = 0;
    bool broken_ = false;
};

}  // namespace

int run_librarian(UniqueFd channel, const Service::Config& config, std::uint32_t layers) {
    auto opened = shm::ChildChannel::open(std::move(channel), layers);
    if (!opened) {
        const bool gone = opened.failure().code == Errc::backend_unavailable;
        if (!gone) {
            spdlog::error("librarian: channel not opened, errno {}", opened.failure().error);
        }
        return gone ? 0 : 1;
    }
    return LibrarianProcess(std::move(*opened)).serve(config);
}

}  // namespace sonogate::librarian
