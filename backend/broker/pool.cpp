#include "broker/pool.hpp"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "base/clock.hpp"
#include "broker/fate.hpp"
#include "sandbox/layers.hpp"

namespace sonogate::broker {

namespace {

constexpr std::uint64_t first_pause_ns = 50'000'000;
constexpr unsigned most_doublings = 7;  // 6.4 s
constexpr std::uint64_t young_ns = 10'000'000'000;
constexpr int nice_of_long_jobs = 10;

std::string names_of(std::uint32_t layers) {
    std::string out;
    for (std::size_t i = 0; i < sandbox::layer_names.size(); ++i) {
        if ((layers & (1U << i)) != 0) {
            out.append(out.empty() ? "" : ", ").append(sandbox::layer_names[i]);
        }
    }
    return out.empty() ? "nothing" : out;
}

// By its own word, which one that was taken over can make anything of.
std::uint64_t refused_by(const Child& child) {
    constexpr std::uint64_t most_believed = 1'000'000;
    return child.channel.connected()
               ? std::min(child.channel.published().refused_calls.load(std::memory_order_relaxed),
                          most_believed)
               : 0;
}

}  // namespace

std::string Pool::name_of(const Child& child) {
    return child.lane == Lane::librarian ? "librarian" : "worker " + std::to_string(child.index);
}

bool Pool::apply(const Settings& settings) {
    wanted_ = settings.workers;
    log_level_ = settings.log_level;
    worker_jobs_ = settings.worker_jobs;
    // Not less than before: an nginx of an earlier configuration may still send as much.
    const std::uint64_t upload_bytes = std::max(upload_bytes_, settings.upload_memory_bytes);
    const bool bound_anew = job_memory_bytes_ != settings.job_memory_bytes ||
                            result_bytes_ != settings.job_result_bytes ||
                            upload_bytes_ != upload_bytes;
    job_memory_bytes_ = settings.job_memory_bytes;
    result_bytes_ = settings.job_result_bytes;
    upload_bytes_ = upload_bytes;
    for (auto& child : children_) {
        child->channel.set_log_level(log_level_);
        const bool worker = child->lane != Lane::librarian;
        // A worker is born with its bounds, and cannot be given others.
        child->retiring = child->retiring || (worker && bound_anew);
        // Indices of long-job workers follow those of the short ones, so a changed count renames
        // them: they all make way.
        child->retiring = child->retiring ||
                          (worker && (child->lane == Lane::short_jobs
                                          ? child->index >= wanted_
                                          : child->index < wanted_ || child->index >= 2 * wanted_));
    }
    const bool changed = store_ != settings.store;
    store_ = settings.store;
    return changed;
}

bool Pool::is_there(Lane lane, std::uint32_t index) const {
    return std::any_of(children_.begin(), children_.end(), [&](const auto& child) {
        return child->lane == lane && child->index == index && !child->retiring;
    });
}

Pool::Place& Pool::place(Lane lane, std::uint32_t index) {
    auto& places = places_[static_cast<std::size_t>(lane)];
    if (places.size() <= index) {
        places.resize(index + 1);
    }
    return places[index];
}

void Pool::tick(std::uint64_t now_ns) {
    departed_.tick(now_ns);
    const auto care = [&](Lane lane, std::uint32_t index) {
        if (!is_there(lane, index) && place(lane, index).not_before_ns <= now_ns) {
            order(lane, index, now_ns);
        }
    };
    for (std::uint32_t i = 0; i < wanted_; ++i) {
        care(Lane::short_jobs, i);
        care(Lane::long_jobs, wanted_ + i);
    }
    if (!store_.empty()) {
        care(Lane::librarian, 0);
    }
}

void Pool::order(Lane lane, std::uint32_t index, std::uint64_t now_ns) {
    place(lane, index).not_before_ns = now_ns + first_pause_ns;  // where anything below fails
    std::array<int, 2> ends{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        spdlog::error("no socket pair for a child: errno {}", errno);
        return;
    }
    UniqueFd ours(ends[0]);
    const UniqueFd theirs(ends[1]);
    auto channel = shm::BrokerChannel::open(std::move(ours));
    if (!channel) {
        spdlog::error("no channel for a child: errno {}", channel.failure().error);
        return;
    }
    channel->set_log_level(log_level_);
    worker::ForkRequest request{.birth = next_birth_++, .role = worker::Role::worker};
    request.index = index;
    request.job_memory_bytes = job_memory_bytes_;
    request.result_bytes = result_bytes_;
    request.upload_bytes = upload_bytes_;
    request.nice = lane == Lane::long_jobs ? nice_of_long_jobs : 0;
    if (lane == Lane::librarian) {
        request.role = worker::Role::librarian;
        request.search_threads = std::max(1U, wanted_);
        request.store_bytes = static_cast<std::uint32_t>(
            store_.copy(request.store.data(), std::min(store_.size(), request.store.size())));
    }
    if (const auto ordered = nursery_.order(request, theirs); !ordered) {
        return;  // the zygote is behind; the next tick tries again
    }
    auto child = std::make_unique<Child>(Child{.birth = request.birth,
                                               .lane = lane,
                                               .index = index,
                                               .channel = std::move(*channel),
                                               .pidfd = {},
                                               .status = {},
                                               .born_ns = now_ns,
                                               .jobs = {},
                                               .heartbeat = {},
                                               .cpu = {}});
    const auto watch = poller_.add(child->channel.socket(),
                                   [this, birth = child->birth](std::uint32_t) { ready_(birth); });
    if (!watch) {
        spdlog::error("a child cannot be watched: errno {}", watch.failure().error);
        return;
    }
    child->watch = *watch;
    children_.push_back(std::move(child));
    place(lane, index).not_before_ns = 0;
}

std::vector<std::uint64_t> Pool::silent(std::uint64_t now_ns) {
    std::vector<std::uint64_t> out;
    for (const auto& child : children_) {
        const bool librarian = child->lane == Lane::librarian;
        const bool idle = !librarian && child->channel.connected() && child->jobs.empty();
        const bool opens = librarian && catalog_state() != shm::PartState::ready;
        const std::uint64_t longest_ns =
            opens ? Heartbeat::longest_start_ns : Heartbeat::longest_silence_ns;
        if (child->pid != 0 && !idle &&
            child->heartbeat.is_silent(child->pid, now_ns, longest_ns)) {
            spdlog::error("{} (pid {}) shows no sign of life and is killed", name_of(*child),
                          child->pid);
            out.push_back(child->birth);
        }
    }
    return out;
}

bool Pool::read_news() {
    bool gone = false;
    while (auto news = nursery_.next(gone)) {
        const worker::ForkReply& reply = news->reply;
        Child* const child = find(reply.birth);
        switch (reply.news) {
            case worker::ForkNews::born:
                if (child != nullptr) {
                    child->pid = reply.pid;
                    child->pidfd = std::move(news->pidfd);
                    spdlog::debug("{} is pid {}", name_of(*child), reply.pid);
                } else {
                    departed_.born(reply.birth, std::move(news->pidfd));
                }
                break;
            case worker::ForkNews::failed:
                spdlog::error("a child could not be forked: errno {}", reply.status);
                break;
            case worker::ForkNews::died:
                filter_kills_ += WIFSIGNALED(reply.status) && WTERMSIG(reply.status) == SIGSYS;
                if (reply.status != 0) {
                    spdlog::warn("pid {} ended with {}", reply.pid, fate(reply.status));
                }
                if (child != nullptr) {
                    child->status = reply.status;
                } else {
                    departed_.died(reply.birth);
                    note_fate(reply.birth, reply.status);
                    ended_(reply.birth, reply.status);
                }
                break;
            case worker::ForkNews::none:
                break;
        }
    }
    return !gone;
}

Child* Pool::free_worker(Lane lane) {
    Child* idle = nullptr;
    Child* busy = nullptr;
    for (const auto& child : children_) {
        if (child->lane != lane || child->retiring || !child->channel.connected()) {
            continue;
        }
        if (child->jobs.empty()) {
            idle = idle == nullptr ? child.get() : idle;
        } else if (child->jobs.size() < most_jobs_each_worker &&
                   child->backlog_us < most_backlog_us &&
                   (busy == nullptr || child->backlog_us < busy->backlog_us)) {
            busy = child.get();
        }
    }
    const bool hardly_waits = busy != nullptr && busy->backlog_us < wake_worth_us;
    return idle == nullptr || hardly_waits ? busy : idle;
}

std::uint64_t Pool::busy_us(Lane lane, std::uint64_t now_ns) const {
    std::uint64_t least_us = std::numeric_limits<std::uint64_t>::max();
    for (const auto& child : children_) {
        if (child->lane != lane || child->retiring) {
            continue;
        }
        const std::uint64_t for_us =
            child->jobs.empty() ? 0 : (now_ns - child->busy_since_ns) / 1000U;
        least_us = std::min(least_us, child->backlog_us - std::min(child->backlog_us, for_us));
    }
    return least_us == std::numeric_limits<std::uint64_t>::max() ? 0 : least_us;
}

shm::PartState Pool::librarian_state() const {
    for (const auto& child : children_) {
        if (child->lane == Lane::librarian && !child->retiring) {
            return child->channel.connected() ? shm::PartState::ready : shm::PartState::starting;
        }
    }
    return store_.empty() ? shm::PartState::down : shm::PartState::starting;
}

shm::PartState Pool::catalog_state() const {
    for (const auto& child : children_) {
        if (child->lane == Lane::librarian && !child->retiring && child->channel.connected()) {
            const std::uint64_t state =
                child->channel.published().catalog_state.load(std::memory_order_relaxed);
            return state == static_cast<std::uint64_t>(shm::PartState::ready)
                       ? shm::PartState::ready
                       : shm::PartState::starting;
        }
    }
    return librarian_state() == shm::PartState::starting ? shm::PartState::starting
                                                         : shm::PartState::down;
}

Child* Pool::open_librarian() {
    if (catalog_state() != shm::PartState::ready) {
        return nullptr;
    }
    for (const auto& child : children_) {
        if (child->lane == Lane::librarian && !child->retiring) {
            return child.get();
        }
    }
    return nullptr;
}

Child* Pool::find(std::uint64_t birth) {
    const auto found = std::find_if(children_.begin(), children_.end(),
                                    [&](const auto& child) { return child->birth == birth; });
    return found == children_.end() ? nullptr : found->get();
}

void Pool::handed_to(Child& child) {
    ++child.handed;
    if (child.lane != Lane::librarian && !child.retiring && child.handed >= worker_jobs_) {
        child.retiring = true;
        ++recycled_;
        order(child.lane, child.index, now_ns());
    }
}

std::unique_ptr<Child> Pool::take_out(std::uint64_t birth, bool kill) {
    if (kill) {
        (void)read_news();  // its pidfd may be in the socket still
    }
    const auto found = std::find_if(children_.begin(), children_.end(),
                                    [&](const auto& child) { return child->birth == birth; });
    if (found == children_.end()) {
        return nullptr;
    }
    auto child = std::move(*found);
    children_.erase(found);
    refused_calls_ += refused_by(*child);
    note_refusal(*child);
    poller_.remove(child->watch);
    if (kill && child->pidfd) {
        ::syscall(SYS_pidfd_send_signal, child->pidfd.get(), SIGKILL, nullptr, 0);
    } else if (!child->status) {
        const std::uint64_t patience_ns = kill                             ? 0
                                          : child->lane == Lane::librarian ? librarian_patience_ns
                                          : child->retiring                ? retired_patience_ns
                                                                           : worker_patience_ns;
        departed_.add(birth, name_of(*child), std::move(child->pidfd), now_ns() + patience_ns);
    }
    if (!child->retiring || !child->jobs.empty()) {
        note_death(*child);
    }
    return child;
}

// A worker that had a job died of it: replaced at once, or whoever sends such jobs decides how many
// workers there are. What never became ready, or dies young of nothing, has a cause that a new one
// shares, and so has a librarian that faults again and again: wait longer and longer.
void Pool::note_death(const Child& child) {
    ++deaths_;
    const bool librarian = child.lane == Lane::librarian;
    const bool was_ready =
        child.channel.connected() &&
        (!librarian || child.channel.published().catalog_state.load(std::memory_order_relaxed) ==
                           static_cast<std::uint64_t>(shm::PartState::ready));
    auto& where = place(child.lane, child.index);
    const std::uint64_t now = now_ns();
    const bool young = now - child.born_ns < young_ns;
    const bool of_nothing = !librarian && young && child.handed == 0;
    if (!was_ready || of_nothing) {
        ++where.young_deaths;
    } else if (!librarian || !young) {
        where.young_deaths = 0;
    }
    where.not_before_ns = 0;
    if (where.young_deaths != 0) {
        const std::uint64_t pause_ns = first_pause_ns
                                       << std::min(where.young_deaths, most_doublings);
        where.not_before_ns = now + pause_ns;
        spdlog::warn("{} starts again in {} ms", name_of(child), pause_ns / 1'000'000);
    }
    if (was_ready && librarian && young) {
        where.last_birth = child.birth;
        if (child.status) {
            note_fate(child.birth, *child.status);
        }
    }
}

// Known only when the next one has been ordered, and so for the one after it.
void Pool::note_fate(std::uint64_t birth, int status) {
    auto& where = place(Lane::librarian, 0);
    if (where.last_birth == birth && is_fault(status)) {
        where.last_birth = 0;
        ++where.young_deaths;
    }
}

void Pool::note_sandbox(const Child& child) {
    const std::uint32_t has = child.channel.sandbox();
    const bool librarian = child.lane == Lane::librarian;
    auto& told = librarian ? told_librarian_ : told_worker_;
    if (told == has) {
        return;
    }
    told = has;
    const std::uint32_t wanted = librarian ? sandbox::filter_layers : sandbox::worker_layers;
    const bool whole = (has & wanted) == wanted;
    spdlog::log(whole ? spdlog::level::info : spdlog::level::warn,
                "{}: confined by {}; refused by this system: {}",
                librarian ? "the librarian" : "workers", names_of(has), names_of(wanted & ~has));
}

// A library that wants something it may not have, or somebody who looks around.
void Pool::note_refusal(Child& child) {
    if (!child.told_refusal && refused_by(child) != 0) {
        child.told_refusal = true;
        spdlog::warn("{} (pid {}): its filter refused system call {}", name_of(child), child.pid,
                     child.channel.published().refused_call.load(std::memory_order_relaxed));
    }
}

std::uint64_t Pool::refused_calls() const {
    std::uint64_t sum = refused_calls_;
    for (const auto& child : children_) {
        sum += refused_by(*child);
    }
    return sum;
}

std::uint32_t Pool::workers_ready() const {
    // One that works on its last jobs is still there for who asks how many there are.
    const auto count = std::count_if(children_.begin(), children_.end(), [](const auto& child) {
        return child->lane != Lane::librarian && child->channel.connected() &&
               (!child->retiring || !child->jobs.empty());
    });
    return std::min(static_cast<std::uint32_t>(count), workers_wanted());
}

}  // namespace sonogate::broker
