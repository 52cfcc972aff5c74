// Jobs of one nginx worker: what was asked of the broker and is not answered yet.
//
// For: finding the request of a completion by slot and generation, and keeping a job's slab until
// its answer came, whether or not the client still waits. Not for: sending (link.hpp). One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "ngx_module/slab.hpp"
#include "shm/layout.hpp"

namespace sonogate::ngx_module {

struct LinkMemory;

// An answer with what it borrows: a slot of the link's result segment, or a descriptor.
struct Reply {
    shm::Completion completion;
    std::shared_ptr<LinkMemory> memory;  // keeps the slot mapped, also when the link is gone
    Bytes bytes;                         // of the slot
    UniqueFd file;
};

// Who waits for a job. Called from the link's events, never from within a call to the link.
class JobOwner {
  public:
    // The ticket holds job.granted_bytes now.
    virtual void on_grant() noexcept = 0;
    // The answer; the job is gone, and so is its slab. The reply must come back to
    // Link::release() in the end.
    virtual void on_reply(Reply reply) noexcept = 0;
    // The job failed: `failure` of the completion says how. It is gone, and so is its slab.
    virtual void on_failure(const shm::Completion& completion) noexcept = 0;

  protected:
    ~JobOwner() = default;
};

enum class JobState : std::uint8_t {
    idle,       // nothing was sent
    admitting,  // an admit is not answered yet
    admitted,   // holds a ticket; the body arrives
    submitted,  // is the broker's until its completion
};

struct Job {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    JobState state = JobState::idle;
    bool sent = false;      // on the link as it is now; else as soon as there is one
    bool charging = false;  // a charge is not answered yet: one at a time
    bool held = false;      // for the successor of a daemon that drains
    std::uint8_t resubmissions = 0;
    JobOwner* owner = nullptr;  // null: the client left
    Slab* slab = nullptr;
    std::uint64_t caller = 0;  // whose it is, where that is counted
    std::uint16_t most_at_once = 0;
    shm::Priority priority = shm::Priority::interactive;
    shm::Endpoint endpoint = shm::Endpoint::none;
    std::uint64_t identity = 0;     // who asks
    std::uint64_t need_bytes = 0;   // the most that the body can grow to
    std::uint64_t asked_bytes = 0;  // of the last charge
    std::uint64_t granted_bytes = 0;
    std::uint64_t held_bytes = 0;      // received so far, for an admit after a backend died
    std::uint64_t waits_since_ms = 0;  // for a link
    shm::Submission submission;        // state submitted
};

class Pending {
  public:
    Job& add(JobOwner& owner) noexcept {
        if (free_.empty()) {
            free_.push_back(static_cast<std::uint32_t>(jobs_.size()));
            jobs_.emplace_back();
            generations_.push_back(0);
        }
        const std::uint32_t slot = free_.back();
        free_.pop_back();
        jobs_[slot] = std::make_unique<Job>();
        jobs_[slot]->slot = slot;
        jobs_[slot]->generation = ++generations_[slot];
        jobs_[slot]->owner = &owner;
        return *jobs_[slot];
    }

    // The job keeps its slot under a new generation: what was sent for the old one is stale.
    void renew(Job& job) noexcept { job.generation = ++generations_[job.slot]; }

    void remove(Job& job) noexcept {
        const std::uint32_t slot = job.slot;
        jobs_[slot].reset();
        free_.push_back(slot);
    }

    Job* find(std::uint32_t slot, std::uint32_t generation) const noexcept {
        Job* job = at(slot);
        return job != nullptr && job->generation == generation ? job : nullptr;
    }

    // For walking all slots; null where none lives. Callbacks may add slots meanwhile.
    Job* at(std::uint32_t slot) const noexcept {
        return slot < jobs_.size() ? jobs_[slot].get() : nullptr;
    }
    std::uint32_t slots() const noexcept { return static_cast<std::uint32_t>(jobs_.size()); }
    bool empty() const noexcept { return free_.size() == jobs_.size(); }

  private:
    std::vector<std::unique_ptr<Job>> jobs_;
    std::vector<std::uint32_t> generations_;
    std::vector<std::uint32_t> free_;
};

}  // namespace sonogate::ngx_module
