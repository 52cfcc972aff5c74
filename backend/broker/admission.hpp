// Upload memory: who may receive how much more, so that every upload that began can end.
//
// A ticket also counts against its caller, where the location bounds how many one may hold.
//
// For: tickets of all links. Not for: queues (scheduler.hpp), nor for who asks. One thread.
//
// The problem: uploads grow as their bytes arrive, memory is one sum, and an upload that waits
// keeps what it holds. Grant whoever asks, and a few large uploads can each hold a part that none
// can finish with. The idea (Dijkstra's banker, EWD 623, 1977, for one resource): each ticket
// declares the most it can need, and a grant is made only where afterwards some order exists in
// which every upload reaches its need, each finished one giving back what it held. With one
// resource the order by what is still missing is the best one, so the check is a sort. Where the
// needs of all tickets fit together, no check is needed at all: the usual case costs O(1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "broker/callers.hpp"
#include "shm/layout.hpp"

namespace sonogate::broker {

struct JobIdHash {
    std::size_t operator()(const shm::JobId& id) const noexcept {
        return static_cast<std::size_t>((id.epoch ^ id.slot) * 0x9e3779b97f4a7c15ULL +
                                        id.generation);
    }
};

class Admission {
  public:
    static constexpr std::uint64_t first_step_bytes = 1U << 20U;

    enum class Answer : std::uint8_t { granted, waits, too_large, too_many, unknown };

    // A ticket that got what it waited for.
    struct Grant {
        shm::JobId id;
        bool admitted = false;  // its first grant; else a charge
        std::uint64_t held_bytes = 0;
    };

    void set_limit(std::uint64_t bytes) noexcept { limit_ = bytes; }

    // A new ticket for an upload of at most need_bytes; the first grant is min(need, 1 MiB). What
    // is carried over (charged_bytes > 0: the bytes are in memory already) is taken as it is.
    // `too_large`: need is beyond the limit, no ticket. `too_many`: its caller holds as many as it
    // may, no ticket. `unknown`: that id has a ticket already.
    Answer admit(const shm::JobId& id, std::uint64_t need_bytes, std::uint64_t charged_bytes,
                 const Caller& caller = {});

    // Raises what a ticket holds to `sum_bytes`; less than it holds is granted as nothing to do.
    // `too_large`: beyond its declared need; it keeps what it has. `unknown`: no such ticket.
    Answer charge(const shm::JobId& id, std::uint64_t sum_bytes);

    // The upload is complete and holds `bytes`: it will grow no more, and ends by itself. Makes the
    // ticket where there is none. No check: the memory is in use. True where the ticket was waiting
    // for a grant, which has it now.
    bool settle(const shm::JobId& id, std::uint64_t bytes, Grant& grant, const Caller& caller = {});

    // Room for a small upload that comes without a ticket and is complete.
    bool has_room(std::uint64_t bytes) const noexcept {
        return held_ <= limit_ && bytes <= limit_ - held_;
    }
    // … and for one more of its caller.
    bool has_room(const Caller& caller) const { return callers_.has_room(caller); }

    // The ticket ends. True where it was waiting for a grant, which `grant` describes.
    bool give_back(const shm::JobId& id, Grant& grant);
    void give_back(const shm::JobId& id) {
        Grant ignored;
        (void)give_back(id, ignored);
    }

    // All tickets of a link end.
    void forget(std::uint64_t epoch);

    // Those waiting whose grant is safe now, oldest first. After give_back() and set_limit().
    std::vector<Grant> take_grants();

    bool has(const shm::JobId& id) const { return tickets_.contains(id); }
    std::uint64_t held_bytes(const shm::JobId& id) const;
    std::uint64_t used_bytes() const noexcept { return held_; }
    std::uint64_t limit_bytes() const noexcept { return limit_; }
    std::size_t tickets() const noexcept { return tickets_.size(); }
    std::size_t waiting() const noexcept { return waiting_.size(); }
    const Callers& callers() const noexcept { return callers_; }

  private:
    struct Ticket {
        std::uint64_t age = 0;
        std::uint64_t need = 0;
        std::uint64_t held = 0;
        std::uint64_t wanted = 0;  // beyond held: waits
        bool admitted = false;
        Caller caller;
    };

    Answer want(const shm::JobId& id, Ticket& ticket, std::uint64_t sum);
    bool grantable(const Ticket& ticket) const;
    bool safe_after(const Ticket& ticket) const;
    void hold(Ticket& ticket, std::uint64_t sum) noexcept;

    std::uint64_t limit_ = 1ULL << 30U;
    std::uint64_t held_ = 0;
    std::uint64_t need_ = 0;     // of all tickets
    std::uint64_t missing_ = 0;  // what the waiting ones want beyond what they hold
    std::uint64_t next_age_ = 1;
    std::unordered_map<shm::JobId, Ticket, JobIdHash> tickets_;
    std::map<std::uint64_t, shm::JobId> waiting_;  // by age
    Callers callers_;
};

}  // namespace sonogate::broker
