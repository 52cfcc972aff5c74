// The loop. Links come and go in links.cpp; what is published is in publish.cpp.
#include "broker/broker.hpp"

#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/clock.hpp"

namespace sonogate::broker {

namespace {

constexpr std::uint64_t tick_ns = 50'000'000;          // while jobs are alive
constexpr std::uint64_t idle_tick_ns = 1'000'000'000;  // the heartbeat
constexpr std::uint64_t hello_patience_ns = 10'000'000'000;
constexpr int most_submissions_a_turn = 64;  // of one link, so that none starves the others

}  // namespace

Result<std::unique_ptr<Broker>> Broker::create(BrokerOptions options, UniqueFd listener,
                                               UniqueFd zygote, UniqueFd signals) {
    auto poller = Poller::create();
    if (!poller) {
        return poller.failure();
    }
    std::unique_ptr<Broker> out(new Broker(std::move(options), std::move(listener),
                                           std::move(zygote), std::move(signals),
                                           std::move(*poller)));
    if (const auto watched = out->watch_all(); !watched) {
        return watched.failure();
    }
    return out;
}

Broker::Broker(BrokerOptions options, UniqueFd listener, UniqueFd zygote, UniqueFd signals,
               Poller poller)
    : options_(std::move(options)),
      disk_(options_.state_folder),
      listener_(std::move(listener)),
      signals_(std::move(signals)),
      poller_(std::move(poller)),
      nursery_(std::move(zygote), options_.zygote),
      pool_(
          nursery_, poller_, [this](std::uint64_t birth) { child_ready(birth); },
          [this](std::uint64_t birth, int status) { blame_.settle(birth, status); }),
      jobs_(
          {pool_, scheduler_, admission_, metrics_, cache_, blame_, settings_},
          [this](std::uint64_t epoch) {
              const auto found = open_links_.find(epoch);
              return found == open_links_.end() ? nullptr : found->second;
          },
          [this] { publish_catalog(); }),
      desk_(
          {jobs_, scheduler_, admission_, metrics_, blame_, settings_, disk_},
          [this](std::uint64_t epoch) {
              const auto found = open_links_.find(epoch);
              return found == open_links_.end() ? nullptr : found->second;
          },
          [this] { return metrics_.text(snapshot()); }) {}

Result<void> Broker::watch_all() {
    auto listening = poller_.add(listener_.get(), [this](std::uint32_t) { accept_links(); });
    if (!listening) {
        return listening.failure();
    }
    listener_watch_ = *listening;
    if (const auto w = poller_.add(signals_.get(), [this](std::uint32_t) { begin_drain(); }); !w) {
        return w.failure();
    }
    const auto news = poller_.add(nursery_.socket(), [this](std::uint32_t) {
        zygote_died_ = zygote_died_ || !pool_.read_news();
    });
    if (!news) {
        return news.failure();
    }
    return {};
}

int Broker::run() {
    service_manager_.ready();
    while (!drained()) {
        if (zygote_died_) {
            spdlog::critical("the zygote is dead, and no worker can be made: giving up");
            return 1;
        }
        work();
        sleep();
        if (now_ns() >= next_tick_ns_) {
            tick();
        }
    }
    end_drain();
    return 0;
}

// Moves on what can be moved, then lets the others run once: what they hand over meanwhile costs no
// bell and no wake-up (at 16 connections a third of the broker's CPU time). It does not spin.
void Broker::work() {
    bool moved = true;
    while (moved) {
        moved = false;
        while (turn()) {
            moved = true;
        }
        if (moved) {
            ::sched_yield();
        }
    }
}

// Everything that can be moved on now. True where something was.
bool Broker::turn() {
    if (cache_.is_on()) {
        for (const auto& [epoch, link] : open_links_) {
            link->take_hits(cache_);  // before anything is stored, and so something else has to go
        }
    }
    bool moved = read_children();
    std::vector<std::uint64_t> liars;
    for (const auto& [id, link] : links_) {
        if (!link->has_submissions()) {
            continue;
        }
        moved = true;
        if (!serve_link(*link)) {
            liars.push_back(id);
        }
    }
    for (const std::uint64_t id : liars) {
        close_link(id, "it lied");
    }
    (void)blame_.work();
    moved = jobs_.dispatch() || moved;
    for (const auto& child : pool_.children()) {
        child->channel.ring();
    }
    desk_.grant_waiting();
    for (const auto& [id, link] : links_) {
        link->flush();
        link->ring();
    }
    return moved;
}

// False: the link lied.
bool Broker::serve_link(Link& link) {
    shm::Submission submission;
    for (int i = 0; i < most_submissions_a_turn; ++i) {
        switch (link.next(submission)) {
            case shm::RingResult::ok:
                if (!desk_.serve(link, submission)) {
                    return false;
                }
                break;
            case shm::RingResult::none:
                return true;
            case shm::RingResult::lie:
                return false;
        }
    }
    return true;
}

bool Broker::read_children() {
    bool moved = false;
    std::vector<std::uint64_t> liars;
    std::vector<std::uint64_t> idle;
    for (const auto& child : pool_.children()) {
        switch (child->channel.has_answers() ? jobs_.read_answers(*child) : Jobs::Read::nothing) {
            case Jobs::Read::some:
                Pool::note_refusal(*child);
                moved = true;
                break;
            case Jobs::Read::lie:
                liars.push_back(child->birth);
                break;
            case Jobs::Read::nothing:
                break;
        }
        if (child->retiring && child->jobs.empty()) {
            idle.push_back(child->birth);
        }
    }
    for (const std::uint64_t birth : liars) {
        spdlog::error("a child lied and is ended");
        jobs_.child_ended(birth, Jobs::Ending::lied);
        moved = true;
    }
    for (const std::uint64_t birth : idle) {
        (void)pool_.take_out(birth, false);
    }
    return moved;
}

// Whoever stands still: SIGSTOP, a debugger, a hang in the kernel. A worker's job is tried again,
// as if it had died; without a zygote there is no future.
void Broker::end_silent(std::uint64_t now_ns) {
    for (const std::uint64_t birth : pool_.silent(now_ns)) {
        metrics_.count_silent();
        jobs_.child_ended(birth, Jobs::Ending::silent);
    }
    if (nursery_.end_if_silent(now_ns)) {
        spdlog::critical("the zygote shows no sign of life and is killed");
        metrics_.count_silent();
    }
}

bool Broker::anything_waits() const {
    return std::any_of(links_.begin(), links_.end(),
                       [](const auto& entry) { return entry.second->has_submissions(); }) ||
           std::any_of(pool_.children().begin(), pool_.children().end(),
                       [](const auto& child) { return child->channel.has_answers(); });
}

// Sleeps until a bell, a packet or the next tick. Everybody who may ring is told first, then looked
// at once more: what came in between rings for nobody.
void Broker::sleep() {
    for (const auto& [epoch, link] : open_links_) {
        link->arm();
    }
    for (const auto& child : pool_.children()) {
        child->channel.arm();
    }
    // While an upload is read, no turn of the loop waits, and each looks at everybody's sockets.
    const bool reads = jobs_.reads() || blame_.reads();
    poller_.wait(reads || anything_waits() ? 0 : sleep_ms());
    for (const auto& [epoch, link] : open_links_) {
        link->disarm();
    }
    for (const auto& child : pool_.children()) {
        child->channel.disarm();
    }
}

int Broker::sleep_ms() const {
    const std::uint64_t now = now_ns();
    if (now >= next_tick_ns_) {
        return 0;
    }
    return static_cast<int>((next_tick_ns_ - now) / 1'000'000 + 1);
}

void Broker::tick() {
    const std::uint64_t now = now_ns();
    service_manager_.beat(now);
    jobs_.tick(now);
    if (settings_.stamp != 0 && drain_until_ns_ == 0) {
        pool_.tick(now);
    }
    end_silent(now);
    std::vector<std::uint64_t> silent;
    for (const auto& [id, link] : links_) {
        if (!link->is_open() && now - link->connected_ns() > hello_patience_ns) {
            silent.push_back(id);
        }
    }
    for (const std::uint64_t id : silent) {
        close_link(id, "it never said hello");
    }
    publish();
    tell_status();
    const bool young = pool_.workers_ready() < pool_.workers_wanted();
    const bool busy = jobs_.count() != 0 || young || drain_until_ns_ != 0 ||
                      pool_.catalog_state() == shm::PartState::starting;
    next_tick_ns_ = now + (busy ? tick_ns : idle_tick_ns);
}

// One line for `systemctl status`.
void Broker::tell_status() {
    if (settings_.stamp == 0) {
        service_manager_.status("waiting for nginx");
        return;
    }
    service_manager_.status(fmt::format(
        "{}{} of {} workers, catalog {}, {} links", desk_.draining() ? "draining, " : "",
        pool_.workers_ready(), pool_.workers_wanted(),
        pool_.catalog_state() == shm::PartState::ready ? "open" : "closed", open_links_.size()));
}

bool Broker::drained() const {
    return drain_until_ns_ != 0 && (jobs_.count() == 0 || now_ns() > drain_until_ns_);
}

void Broker::begin_drain() {
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info) || drain_until_ns_ != 0) {
        return;
    }
    spdlog::info("draining: {} jobs to finish", jobs_.count());
    drain_until_ns_ = now_ns() + settings_.drain_timeout_ns;
    service_manager_.stopping(settings_.drain_timeout_ns);
    desk_.drain();
    publish();  // /ready says so before anybody is refused
    // Whoever holds the socket too (systemd, scripts/serve) keeps the queue of those that connect
    // now for our successor.
    poller_.remove(listener_watch_);
    listener_.reset();
    next_tick_ns_ = 0;
}

void Broker::end_drain() {
    if (const std::size_t late = jobs_.wanted(); late != 0) {
        spdlog::warn("{} requests are not finished after drain_timeout and are refused", late);
        jobs_.give_up();
        work();  // the answers are on their way before the link closes
    }
    nursery_.farewell();
    spdlog::info("drained");
}

void Broker::child_ready(std::uint64_t birth) {
    Child* const child = pool_.find(birth);
    if (child == nullptr) {
        return;
    }
    const bool knew = child->channel.connected();
    switch (child->channel.receive()) {
        case shm::Received::nothing:
            break;
        case shm::Received::message:
            if (!knew && child->channel.connected()) {
                pool_.note_sandbox(*child);
            }
            if (!knew || child->lane == Lane::librarian) {
                publish();  // it became ready, or its catalog did
            }
            break;
        case shm::Received::closed:
            jobs_.child_ended(birth, Jobs::Ending::closed);
            publish();
            break;
        case shm::Received::lie:
            spdlog::error("{} lied and is ended", Pool::name_of(*child));
            jobs_.child_ended(birth, Jobs::Ending::lied);
            break;
    }
}

}  // namespace sonogate::broker
