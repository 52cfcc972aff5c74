// Children that the broker is done with and that have not died yet.
//
// For: Pool, which takes a child out when its channel has ended. One that closed its end may live
// on, hung or taken over, and would keep its memory and its core for ever; one that we gave up may
// not hear it. Each has a time in which to go by itself, and is killed then. Not for: children that
// still have jobs to do (heartbeat.hpp, Jobs::tick). One thread.
//
// Why not at once: a worker that ends because of a fault of its own closes its channel on the way
// out, and its exit status, which says so (blame.hpp), comes later. What was killed says nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "base/unique_fd.hpp"

namespace sonogate::broker {

class Departed {
  public:
    // Without their birth nobody can be killed, and without their death nobody is forgotten: both
    // are told by the zygote, and may be lost where it is far behind.
    static constexpr std::size_t most = 1024;

    // It is to be gone at `until_ns`. `pidfd` may come later.
    void add(std::uint64_t birth, std::string name, UniqueFd pidfd, std::uint64_t until_ns);

    // News of the zygote. Births and deaths of others are none of ours.
    void born(std::uint64_t birth, UniqueFd pidfd);
    void died(std::uint64_t birth) { waiting_.erase(birth); }

    // Kills those past their time.
    void tick(std::uint64_t now_ns);

    std::size_t count() const noexcept { return waiting_.size(); }

  private:
    struct Entry {
        std::string name;
        UniqueFd pidfd;
        std::uint64_t until_ns = 0;
    };

    std::map<std::uint64_t, Entry> waiting_;  // by birth, so the oldest first
};

}  // namespace sonogate::broker
