#include "broker/fair_queue.hpp"

#include <algorithm>
#include <limits>

namespace sonogate::broker {

namespace {

std::uint64_t cost_of(const Turn& turn) noexcept {
    return std::clamp<std::uint64_t>(turn.cost_us, 1, FairQueue::most_cost_us);
}

std::int64_t price_of(const Turn& turn) noexcept {
    return static_cast<std::int64_t>(cost_of(turn));
}

constexpr auto quantum = static_cast<std::int64_t>(FairQueue::quantum_us);

}  // namespace

// ---- one priority

void FairQueue::Class::begin_turn() {
    if (!ring.empty()) {
        front().credit_us += quantum;
    }
}

// Moves on to the identity that can pay for its next job.
void FairQueue::Class::advance() {
    for (std::size_t seen = 0; front().credit_us < price_of(front().jobs.front()); ++seen) {
        if (seen == ring.size()) {
            leap();
            seen = 0;
        }
        ring.splice(ring.end(), ring, ring.begin());
        begin_turn();
    }
}

// As many rounds at once as leave one to go until somebody can pay.
void FairQueue::Class::leap() {
    std::int64_t rounds = std::numeric_limits<std::int64_t>::max();
    for (const std::uint64_t identity : ring) {
        const Flow& flow = flows.at(identity);
        const std::int64_t missing = price_of(flow.jobs.front()) - flow.credit_us;
        rounds = std::min(rounds, missing / quantum);
    }
    for (const std::uint64_t identity : ring) {
        flows.at(identity).credit_us += std::max<std::int64_t>(rounds, 0) * quantum;
    }
}

void FairQueue::forget_if_idle(Class& cls, std::uint64_t identity) {
    const auto found = cls.flows.find(identity);
    if (found != cls.flows.end() && found->second.jobs.empty() && found->second.taken == 0) {
        cls.flows.erase(found);
    }
}

// ---- both

void FairQueue::push(const Turn& turn) {
    Class& cls = of(turn.priority);
    Flow& flow = cls.flows[turn.identity];
    if (flow.jobs.empty()) {
        cls.ring.push_back(turn.identity);
        if (cls.ring.size() == 1) {
            cls.begin_turn();
        }
    }
    flow.jobs.push_back(turn);
    for (std::uint64_t* const sum : {&flow.waiting_us, &cls.waiting_us, &waiting_us_}) {
        *sum += cost_of(turn);
    }
    ++size_;
}

void FairQueue::push_front(const Turn& turn) {
    settle(turn, 0);
    push(turn);
    Class& cls = of(turn.priority);
    Flow& flow = cls.flows.at(turn.identity);
    flow.credit_us = std::max(flow.credit_us, price_of(turn));  // it was paid for
    std::rotate(flow.jobs.begin(), flow.jobs.end() - 1, flow.jobs.end());
    const auto place = std::find(cls.ring.begin(), cls.ring.end(), turn.identity);
    cls.ring.splice(cls.ring.begin(), cls.ring, place);
}

bool FairQueue::is_batch_next() {
    Class& interactive = of(shm::Priority::interactive);
    Class& batch = of(shm::Priority::batch);
    if (interactive.ring.empty() || batch.ring.empty()) {
        return interactive.ring.empty();
    }
    batch.advance();
    return batch_credit_us_ >= cost_of(batch.front().jobs.front());
}

std::optional<std::uint64_t> FairQueue::front() {
    if (size_ == 0) {
        return std::nullopt;
    }
    Class& cls = of(is_batch_next() ? shm::Priority::batch : shm::Priority::interactive);
    cls.advance();
    return cls.front().jobs.front().number;
}

void FairQueue::pop() {
    const bool batch_is_next = is_batch_next();
    Class& interactive = of(shm::Priority::interactive);
    Class& batch = of(shm::Priority::batch);
    Class& cls = batch_is_next ? batch : interactive;
    cls.advance();
    Flow& flow = cls.front();
    const std::uint64_t cost_us = cost_of(flow.jobs.front());
    if (batch_is_next && !interactive.ring.empty()) {
        batch_credit_us_ -= cost_us;
    } else if (!batch_is_next && !batch.ring.empty()) {
        batch_credit_us_ += std::max<std::uint64_t>(cost_us / batch_share, 1);
    }
    flow.credit_us -= static_cast<std::int64_t>(cost_us);
    ++flow.taken;
    remove(cls, flow, flow.jobs.begin());
}

// Credit is lost with the last job that waits, or who comes and goes would save it up; debt is not.
void FairQueue::remove(Class& cls, Flow& flow, std::deque<Turn>::iterator job) {
    const std::uint64_t identity = job->identity;
    for (std::uint64_t* const sum : {&flow.waiting_us, &cls.waiting_us, &waiting_us_}) {
        *sum -= cost_of(*job);
    }
    --size_;
    flow.jobs.erase(job);
    if (!flow.jobs.empty()) {
        return;
    }
    flow.credit_us = std::min<std::int64_t>(flow.credit_us, 0);
    if (cls.ring.front() == identity) {
        cls.ring.pop_front();
        cls.begin_turn();
    } else {
        cls.ring.remove(identity);
    }
    if (of(shm::Priority::batch).ring.empty()) {
        batch_credit_us_ = 0;
    }
    forget_if_idle(cls, identity);
}

void FairQueue::settle(const Turn& turn, std::uint64_t took_us) {
    Class& cls = of(turn.priority);
    const auto found = cls.flows.find(turn.identity);
    if (found == cls.flows.end() || found->second.taken == 0) {
        return;
    }
    Flow& flow = found->second;
    --flow.taken;
    flow.credit_us += price_of(turn) - static_cast<std::int64_t>(std::min(took_us, most_cost_us));
    flow.credit_us = std::max(flow.credit_us, -static_cast<std::int64_t>(most_cost_us));
    if (flow.jobs.empty()) {
        flow.credit_us = std::min<std::int64_t>(flow.credit_us, 0);
    }
    forget_if_idle(cls, turn.identity);
}

bool FairQueue::erase(const Turn& turn) {
    Class& cls = of(turn.priority);
    const auto found = cls.flows.find(turn.identity);
    if (found == cls.flows.end()) {
        return false;
    }
    auto& jobs = found->second.jobs;
    const auto job = std::find_if(jobs.begin(), jobs.end(),
                                  [&](const Turn& t) { return t.number == turn.number; });
    if (job == jobs.end()) {
        return false;
    }
    remove(cls, found->second, job);
    return true;
}

// ---- what is told

std::size_t FairQueue::identities() const noexcept {
    return classes_[0].ring.size() + classes_[1].ring.size();
}

std::size_t FairQueue::size_of(std::uint64_t identity, shm::Priority priority) const {
    const Class& cls = of(priority);
    const auto found = cls.flows.find(identity);
    return found == cls.flows.end() ? 0 : found->second.jobs.size();
}

FairQueue::Largest FairQueue::largest() const {
    Largest out;
    for (const Class& cls : classes_) {
        for (const std::uint64_t identity : cls.ring) {
            const auto& jobs = cls.flows.at(identity).jobs;
            if (jobs.size() >= out.jobs) {
                out = {jobs.size(), jobs.back().number};
            }
        }
    }
    return out;
}

std::uint64_t FairQueue::ahead_us(const Turn& turn) const {
    const Class& cls = of(turn.priority);
    const auto found = cls.flows.find(turn.identity);
    const std::uint64_t own_us = found == cls.flows.end() ? 0 : found->second.waiting_us;
    const std::uint64_t share_us = own_us + cost_of(turn) + quantum_us;
    std::uint64_t ahead_us = own_us;
    for (const std::uint64_t identity : cls.ring) {
        if (identity != turn.identity) {
            ahead_us += std::min(cls.flows.at(identity).waiting_us, share_us);
        }
    }
    const bool is_batch = turn.priority == shm::Priority::batch;
    const Class& other = classes_[is_batch ? 0 : 1];
    const std::uint64_t others_us =
        is_batch ? (ahead_us + cost_of(turn)) * batch_share : ahead_us / batch_share;
    return ahead_us + std::min(other.waiting_us, others_us);
}

}  // namespace sonogate::broker
