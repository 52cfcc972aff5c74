// Whose fault a worker's end was: the job's that it worked on, or nobody's.
//
// For: Jobs, which tells what a worker that is gone had in hand, and Pool, which tells how it
// ended. Not for: what follows from it (quarantine.hpp, crash_budget.hpp). One thread.
//
// The broker sees a closed channel first and the wait status, from the zygote, a moment later. What
// counts against content and identity:
//   - a fault of the process: any signal but SIGKILL, or an exit status that is not 0. A system
//     call that its filter kills for is SIGSYS, and so a fault;
//   - a worker that wrote a lie into its channel;
//   - whatever ended the second worker of one job, SIGKILL included: the kernel, short of memory,
//     kills with it, and so does the broker where a worker shows no sign of life.
// What does not: a first SIGKILL, which may be anybody's, and the end of a worker that was told to
// stop and did not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "broker/crash_budget.hpp"
#include "broker/quarantine.hpp"

namespace sonogate::broker {

class Blame {
  public:
    static constexpr std::size_t most_open = 1024;
    // Large uploads whose content is being read; it is kept in memory for that. More deaths at a
    // time than that count against their senders alone.
    static constexpr std::size_t most_readings = 4;
    // Read at once, at the death: nginx may use the slab of a small one again as soon as its job
    // has failed.
    static constexpr std::uint64_t small_bytes = shm::warm_slab_audio_bytes;

    struct Suspect {
        std::shared_ptr<ContentReader> content;  // null: not known
        std::uint64_t identity = 0;
    };

    // Who sent that upload, and what it is: read now, or by work().
    Suspect suspect_of(const shm::Submission& submission, const std::shared_ptr<Slab>& slab);

    // Reads a piece of what is to be read. True where there was something.
    bool work();
    bool reads() const noexcept { return !readings_.empty(); }

    Quarantine& quarantine() noexcept { return quarantine_; }
    const Quarantine& quarantine() const noexcept { return quarantine_; }
    CrashBudget& budget() noexcept { return budget_; }
    const CrashBudget& budget() const noexcept { return budget_; }

    // The worker of that birth is gone with it, and its wait status comes yet, or has come.
    void suspect(std::uint64_t birth, const Suspect& suspect, std::optional<int> status);

    // How it ended.
    void settle(std::uint64_t birth, int status);

    // It is to blame, for as many deaths as that.
    void convict(const Suspect& suspect, unsigned deaths);

    std::uint64_t convictions() const noexcept { return convictions_; }

  private:
    struct Verdict {
        std::shared_ptr<ContentReader> content;
        unsigned deaths = 0;
    };

    void put_away();

    Quarantine quarantine_;
    CrashBudget budget_;
    std::deque<std::shared_ptr<ContentReader>> readings_;
    std::vector<Verdict> verdicts_;          // on content that is being read
    std::map<std::uint64_t, Suspect> open_;  // by birth; oldest first
    std::uint64_t convictions_ = 0;
};

}  // namespace sonogate::broker
