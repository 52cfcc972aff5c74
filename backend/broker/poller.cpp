#include "broker/poller.hpp"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sonogate::broker {

Result<Poller> Poller::create() {
    Poller out;
    out.epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!out.epoll_) {
        return system_failure(errno);
    }
    return out;
}

Result<Poller::Watch> Poller::add(int fd, Ready ready) {
    const Watch watch = next_++;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = watch;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
        return system_failure(errno);
    }
    entries_.emplace(watch, Entry{fd, std::move(ready)});
    return watch;
}

void Poller::remove(Watch watch) {
    const auto found = entries_.find(watch);
    if (found != entries_.end()) {
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
        entries_.erase(found);
    }
}

void Poller::wait(int timeout_ms) {
    std::array<epoll_event, 64> events{};
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
    for (int i = 0; i < count; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        const auto found = entries_.find(event.data.u64);
        if (found != entries_.end()) {
            const Ready ready = found->second.ready;  // a copy: it may remove itself
            ready(event.events);
        }
    }
}

}  // namespace sonogate::broker
