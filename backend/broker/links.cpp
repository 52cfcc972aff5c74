// Links: who may connect, on what terms, and how one ends.
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/clock.hpp"
#include "broker/broker.hpp"
#include "log/log.hpp"
#include "shm/handshake.hpp"

namespace sonogate::broker {

namespace {

constexpr std::size_t most_links = 1024;

// Never the same twice, in this life of the daemon or the next.
std::uint64_t make_epoch() {
    std::uint64_t epoch = 0;
    while (epoch == 0) {
        if (::getrandom(&epoch, sizeof(epoch), 0) != sizeof(epoch)) {
            epoch = now_ns();
        }
    }
    return epoch;
}

}  // namespace

bool Broker::may_connect(int socket) const {
    ucred peer{};
    socklen_t size = sizeof(peer);
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return false;
    }
    const auto& users = options_.peer_users;
    const bool allowed = peer.uid == 0 || peer.uid == ::getuid() ||
                         std::find(users.begin(), users.end(), peer.uid) != users.end();
    if (!allowed) {
        spdlog::warn("user {} (pid {}) may not connect", peer.uid, peer.pid);
    }
    return allowed;
}

void Broker::accept_links() {
    for (;;) {
        UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!socket) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                spdlog::error("accept: errno {}", errno);
            }
            return;
        }
        if (!may_connect(socket.get()) || links_.size() >= most_links) {
            metrics_.count_refused_link();
            continue;
        }
        const std::uint64_t id = next_link_++;
        auto link = std::make_unique<Link>(id, std::move(socket), now_ns());
        const auto watch =
            poller_.add(link->socket(), [this, id](std::uint32_t) { link_ready(id); });
        if (watch) {
            link->watch = *watch;
            links_.emplace(id, std::move(link));
        }
    }
}

void Broker::link_ready(std::uint64_t id) {
    const auto found = links_.find(id);
    if (found == links_.end()) {
        return;
    }
    shm::Hello hello;
    UniqueFd link_up;
    switch (found->second->receive(hello, link_up)) {
        case Link::Event::nothing:
        case Link::Event::taken:
            break;
        case Link::Event::hello:
            greet(*found->second, hello, std::move(link_up));
            break;
        case Link::Event::closed:
            close_link(id, "its peer is gone");
            break;
        case Link::Event::lie:
            close_link(id, "it sent a packet that is none");
            break;
    }
}

void Broker::greet(Link& link, const shm::Hello& hello, UniqueFd link_up) {
    const auto refuse = [&](const Failure& failure, const char* why) {
        spdlog::error("link refused: {} (expected {}, found {}, errno {})", why, failure.limit,
                      failure.value, failure.error);
        metrics_.count_refused_link();
        link.refuse(failure.code);
        close_link(link.id(), why);
    };
    if (const auto checked = shm::check_hello(hello); !checked) {
        refuse(checked.failure(), "nginx module and daemon are of different versions");
        return;
    }
    auto settings = read_settings(hello.settings, options_.state_folder);
    if (!settings) {
        refuse(settings.failure(), settings.failure().code == Errc::forbidden
                                       ? "the catalog's path leaves the state folder"
                                       : "settings out of bounds, or a catalog of unknown kind");
        return;
    }
    take_settings(std::move(*settings));  // first: the link is given the cache that they ask for
    if (const auto met = link.welcome(std::move(link_up), make_epoch(), cache_); !met) {
        refuse(met.failure(), "no segments");
        return;
    }
    open_links_.emplace(link.epoch(), &link);
    spdlog::debug("link {} is open", link.id());
    publish();
}

void Broker::take_settings(Settings settings) {
    // A pool without a stamp still counts as the first.
    settings.stamp = std::max<std::uint64_t>(settings.stamp, 1);
    if (settings.stamp <= settings_.stamp) {
        return;
    }
    const bool first = settings_.stamp == 0;
    settings_ = std::move(settings);
    log::set_level(settings_.log_level);
    scheduler_.set_limits(settings_.queue_jobs, settings_.workers);
    blame_.quarantine().set_time(settings_.quarantine_ns);
    blame_.budget().set(settings_.crash_budget, settings_.crash_budget_ns);
    disk_.follow(settings_.store);
    admission_.set_limit(settings_.upload_memory_bytes);
    size_cache();
    if (pool_.apply(settings_) && !first) {
        spdlog::info("the catalog changed: the librarian starts again");
        for (const auto& child : pool_.children()) {
            if (child->lane == Lane::librarian) {
                jobs_.child_ended(child->birth, Jobs::Ending::closed);
                break;
            }
        }
        // No librarian is there: from now on, and until the other one is ready, no answer about the
        // catalog has a key.
        ++catalog_life_;
        catalog_stamp_ = 0;
        publish_catalog();
    }
    spdlog::info("settings: {} workers of each class, queue {}, upload memory {} MiB",
                 settings_.workers, settings_.queue_jobs, settings_.upload_memory_bytes >> 20U);
    pool_.tick(now_ns());
    next_tick_ns_ = 0;
}

void Broker::size_cache() {
    if (const auto sized = cache_.resize(settings_.result_cache_bytes); !sized) {
        spdlog::error("no memory for a result cache of {} MiB (errno {}): there is none",
                      settings_.result_cache_bytes >> 20U, sized.failure().error);
    }
}

void Broker::close_link(std::uint64_t id, const char* why) {
    const auto found = links_.find(id);
    if (found == links_.end()) {
        return;
    }
    Link& link = *found->second;
    spdlog::info("link {} ends: {}", id, why);
    poller_.remove(link.watch);
    if (link.is_open()) {
        open_links_.erase(link.epoch());
        desk_.forget_link(link);
        for (std::size_t e = 0; e < closed_.requests.size(); ++e) {
            for (std::size_t s = 0; s < closed_.requests[e].size(); ++s) {
                closed_.requests[e][s] += link.up().requests[e][s].load(std::memory_order_relaxed);
            }
        }
        closed_.cache_lookups += link.up().cache_lookups.load(std::memory_order_relaxed);
        closed_.cache_hits += link.up().cache_hits.load(std::memory_order_relaxed);
    }
    links_.erase(found);
}

}  // namespace sonogate::broker
