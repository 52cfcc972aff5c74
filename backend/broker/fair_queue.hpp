// Jobs that wait for the same kind of server, in the order in which they are fair to who asks.
//
// For: one lane of the scheduler (scheduler.hpp). Not for: which lane, how long a job will take, or
// who is free. A pure structure: no clock, no locks, one thread.
//
// The problem: first come, first served lets one who sends 200 jobs at once keep everybody else
// behind all of them. The idea (Shreedhar and Varghese, "Efficient Fair Queuing using Deficit Round
// Robin", SIGCOMM 1995): those who have jobs waiting form a ring. Who comes to its front gets a
// quantum of time on credit, its jobs are taken while the credit pays for them, then it goes to the
// back and keeps what is left. A job is paid for by its estimate; when it is over, what it really
// took is settled, so that who sends jobs that look cheap runs into debt.
//   Jobs here differ by six orders of magnitude, and a round in which nobody can pay is a waste:
// then all get at once as many quanta as the first one to pay needs. So a job is taken in two
// passes over the ring at the most, whatever it costs, and somebody is always next.
//   The bound: while two of one priority have jobs waiting, what they were given, in estimated
// time, never differs by more than one quantum and each one's largest job
// (tests/broker/fair_queue_test).
//
// Two priorities share a lane: interactive jobs go first, and each buys batch jobs an eighth of its
// own time. So a batch job waits at most until eight times its cost went before it.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <unordered_map>

#include "shm/layout.hpp"

namespace sonogate::broker {

// What decides when a job is next.
struct Turn {
    std::uint64_t number = 0;    // the job's
    std::uint64_t identity = 0;  // who asks
    std::uint64_t cost_us = 0;   // estimated
    shm::Priority priority = shm::Priority::interactive;
};

class FairQueue {
  public:
    // The longest that one goes on while others of its priority wait, beside the job it has begun.
    static constexpr std::uint64_t quantum_us = 1'000;
    static constexpr std::uint64_t batch_share = 8;  // of interactive time, as a divisor
    // Costs and debts beyond are counted as this: estimates are only estimates.
    static constexpr std::uint64_t most_cost_us = 3'600'000'000;

    void push(const Turn& turn);

    // A job that was taken and comes back: the next of its identity, which is next in its ring.
    void push_front(const Turn& turn);

    // Who is next; the same until something else is called.
    std::optional<std::uint64_t> front();

    // Takes it. The identity pays the estimate; settle() or push_front() follows for each one
    // taken.
    void pop();

    // A job that was taken is over, or comes back: it took so much.
    void settle(const Turn& turn, std::uint64_t took_us);

    // A job that waits no more. False where it does not wait.
    bool erase(const Turn& turn);

    std::size_t size() const noexcept { return size_; }
    std::uint64_t waiting_us() const noexcept { return waiting_us_; }
    std::size_t identities() const noexcept;

    // How many jobs of that identity wait in that priority.
    std::size_t size_of(std::uint64_t identity, shm::Priority priority) const;

    // The last job of who has most of them waiting: who gives way when there is no more room.
    struct Largest {
        std::size_t jobs = 0;
        std::uint64_t number = 0;
    };
    Largest largest() const;

    // The time that goes before a job which came now, by the shares of all who wait.
    std::uint64_t ahead_us(const Turn& turn) const;

  private:
    struct Flow {
        std::deque<Turn> jobs;
        std::uint64_t waiting_us = 0;
        std::int64_t credit_us = 0;
        std::size_t taken = 0;  // its debt is kept while some of its jobs run
    };
    struct Class {
        std::unordered_map<std::uint64_t, Flow> flows;
        std::list<std::uint64_t>
            ring;  // identities with jobs that wait; the front one's turn it is
        std::uint64_t waiting_us = 0;

        Flow& front() { return flows.at(ring.front()); }
        void begin_turn();
        void advance();
        void leap();
    };

    Class& of(shm::Priority priority) noexcept {
        return classes_[priority == shm::Priority::batch ? 1 : 0];
    }
    const Class& of(shm::Priority priority) const noexcept {
        return classes_[priority == shm::Priority::batch ? 1 : 0];
    }
    bool is_batch_next();
    void remove(Class& cls, Flow& flow, std::deque<Turn>::iterator job);
    static void forget_if_idle(Class& cls, std::uint64_t identity);

    Class classes_[2];
    std::size_t size_ = 0;
    std::uint64_t waiting_us_ = 0;
    std::uint64_t batch_credit_us_ = 0;
};

}  // namespace sonogate::broker
