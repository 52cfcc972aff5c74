#include "broker/departed.hpp"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

namespace sonogate::broker {

void Departed::add(std::uint64_t birth, std::string name, UniqueFd pidfd, std::uint64_t until_ns) {
    if (waiting_.size() >= most) {
        waiting_.erase(waiting_.begin());
    }
    waiting_.insert_or_assign(birth, Entry{std::move(name), std::move(pidfd), until_ns});
}

void Departed::born(std::uint64_t birth, UniqueFd pidfd) {
    if (const auto found = waiting_.find(birth); found != waiting_.end()) {
        found->second.pidfd = std::move(pidfd);
    }
}

void Departed::tick(std::uint64_t now_ns) {
    for (auto at = waiting_.begin(); at != waiting_.end();) {
        Entry& entry = at->second;
        if (now_ns < entry.until_ns || !entry.pidfd) {
            ++at;
            continue;
        }
        if (::syscall(SYS_pidfd_send_signal, entry.pidfd.get(), SIGKILL, nullptr, 0) == 0) {
            spdlog::warn("{} closed its channel and did not end: it is killed", entry.name);
        }
        at = waiting_.erase(at);
    }
}

}  // namespace sonogate::broker
