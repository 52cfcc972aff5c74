// epoll, level-triggered, with a function for each descriptor.
//
// For: the broker's one loop. Not for: threads, timers, or who reads what.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sonogate::broker {

class Poller {
  public:
    using Watch = std::uint64_t;  // never used again, so an event of a removed watch finds nobody
    using Ready = std::function<void(std::uint32_t events)>;

    // Errors: internal with errno.
    static Result<Poller> create();

    // Calls `ready` while `fd` is readable (or closed). The descriptor stays the caller's and must
    // live until remove(). Errors: internal with errno.
    Result<Watch> add(int fd, Ready ready);

    // May be called from within any `ready`.
    void remove(Watch watch);

    // Sleeps for at most that long, then serves what came; 0 does not sleep.
    void wait(int timeout_ms);

  private:
    struct Entry {
        int fd;
        Ready ready;
    };

    UniqueFd epoll_;
    std::unordered_map<Watch, Entry> entries_;
    Watch next_ = 1;
};

}  // namespace sonogate::broker
