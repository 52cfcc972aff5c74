// The broker: one thread, one loop, everybody's only meeting point.
//
// For: main. It accepts links, moves submissions to the desk and jobs to children, publishes what
// nginx shows, and drains. It parses nothing that a client wrote. Not for: anything that has a file
// of its own in this folder.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "broker/admission.hpp"
#include "broker/blame.hpp"
#include "broker/desk.hpp"
#include "broker/disk.hpp"
#include "broker/jobs.hpp"
#include "broker/link.hpp"
#include "broker/metrics.hpp"
#include "broker/nursery.hpp"
#include "broker/poller.hpp"
#include "broker/pool.hpp"
#include "broker/result_cache.hpp"
#include "broker/scheduler.hpp"
#include "broker/service_manager.hpp"
#include "broker/settings.hpp"

namespace sonogate::broker {

struct BrokerOptions {
    std::string state_folder;
    std::vector<std::uint32_t> peer_users;  // beside root and our own
    std::int32_t zygote = 0;                // its pid: a child of ours
    std::uint32_t sandbox = 0;              // what the process is confined by
};

// What the counters of links said that are gone.
struct ClosedLinks {
    RequestCounts requests{};
    std::uint64_t cache_lookups = 0;
    std::uint64_t cache_hits = 0;
};

class Broker {
  public:
    // `listener` is a listening SOCK_SEQPACKET socket, `zygote` our end of its socket, `signals` a
    // signalfd of those that mean "stop". Errors: internal with errno.
    static Result<std::unique_ptr<Broker>> create(BrokerOptions options, UniqueFd listener,
                                                  UniqueFd zygote, UniqueFd signals);

    // Serves until a stop signal, then finishes what runs within `drain_timeout`. The exit status:
    // 0, or 1 where the zygote died.
    int run();

  private:
    Broker(BrokerOptions options, UniqueFd listener, UniqueFd zygote, UniqueFd signals,
           Poller poller);
    Result<void> watch_all();

    // The loop.
    void work();
    bool turn();
    void sleep();
    bool anything_waits() const;
    int sleep_ms() const;
    void tick();
    void tell_status();
    bool drained() const;

    // Links.
    void accept_links();
    bool may_connect(int socket) const;
    void link_ready(std::uint64_t id);
    void greet(Link& link, const shm::Hello& hello, UniqueFd link_up);
    void take_settings(Settings settings);
    void size_cache();
    void close_link(std::uint64_t id, const char* why);
    bool serve_link(Link& link);

    // Children.
    void child_ready(std::uint64_t birth);
    bool read_children();
    void end_silent(std::uint64_t now_ns);

    void begin_drain();
    void end_drain();

    // What others read.
    void publish();
    void publish_catalog();
    Snapshot snapshot() const;
    shm::PartState daemon_state() const;

    BrokerOptions options_;
    Disk disk_;
    UniqueFd listener_;
    UniqueFd signals_;
    Poller poller_;
    ServiceManager service_manager_;
    Nursery nursery_;
    Settings settings_;
    Scheduler scheduler_;
    Admission admission_;
    Metrics metrics_;
    ResultCache cache_;
    Blame blame_;
    Pool pool_;
    Jobs jobs_;
    Desk desk_;
    std::map<std::uint64_t, std::unique_ptr<Link>> links_;  // by our own number
    std::map<std::uint64_t, Link*> open_links_;             // by epoch
    ClosedLinks closed_;
    std::uint64_t catalog_life_ = 1;  // which catalog: the pool's first, second …
    std::uint64_t catalog_stamp_ = 0;
    Poller::Watch listener_watch_ = 0;
    std::uint64_t next_link_ = 1;
    std::uint64_t next_tick_ns_ = 0;
    std::uint64_t next_disk_ns_ = 0;
    std::uint64_t disk_free_bytes_ = 0;
    std::uint64_t drain_until_ns_ = 0;
    bool zygote_died_ = false;
};

}  // namespace sonogate::broker
