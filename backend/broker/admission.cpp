#include "broker/admission.hpp"

#include <algorithm>
#include <utility>

namespace sonogate::broker {

Admission::Answer Admission::admit(const shm::JobId& id, std::uint64_t need_bytes,
                                   std::uint64_t charged_bytes, const Caller& caller) {
    if (need_bytes > limit_ && charged_bytes == 0) {
        return Answer::too_large;
    }
    if (tickets_.contains(id)) {
        return Answer::unknown;
    }
    if (!callers_.has_room(caller) && charged_bytes == 0) {
        return Answer::too_many;
    }
    Ticket& ticket = tickets_[id];
    ticket.caller = caller;
    callers_.take(caller);
    ticket.age = next_age_++;
    ticket.need = std::max(need_bytes, charged_bytes);
    need_ += ticket.need;
    if (charged_bytes > 0) {
        ticket.admitted = true;
        hold(ticket, charged_bytes);
        ticket.wanted = ticket.held;
        return Answer::granted;
    }
    const Answer answer = want(id, ticket, std::min(ticket.need, first_step_bytes));
    ticket.admitted = answer == Answer::granted;
    return answer;
}

Admission::Answer Admission::charge(const shm::JobId& id, std::uint64_t sum_bytes) {
    const auto found = tickets_.find(id);
    if (found == tickets_.end() || !found->second.admitted ||
        found->second.wanted > found->second.held) {
        return Answer::unknown;
    }
    Ticket& ticket = found->second;
    if (sum_bytes > ticket.need) {
        return Answer::too_large;
    }
    return sum_bytes <= ticket.held ? Answer::granted : want(id, ticket, sum_bytes);
}

Admission::Answer Admission::want(const shm::JobId& id, Ticket& ticket, std::uint64_t sum) {
    ticket.wanted = sum;
    // A newcomer does not take what older ones wait for: they hold memory, it holds none.
    const bool behind = !ticket.admitted && !waiting_.empty() &&
                        (held_ + missing_ > limit_ || ticket.need > limit_ - held_ - missing_);
    if (!behind && grantable(ticket)) {
        hold(ticket, sum);
        return Answer::granted;
    }
    waiting_.emplace(ticket.age, id);
    missing_ += sum - ticket.held;
    return Answer::waits;
}

void Admission::hold(Ticket& ticket, std::uint64_t sum) noexcept {
    held_ += sum - ticket.held;
    ticket.held = sum;
}

bool Admission::grantable(const Ticket& ticket) const {
    if (held_ > limit_ || ticket.wanted - ticket.held > limit_ - held_) {
        return false;
    }
    return need_ <= limit_ || safe_after(ticket);
}

bool Admission::safe_after(const Ticket& ticket) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> uploads;  // still missing, held
    uploads.reserve(tickets_.size());
    for (const auto& [id, other] : tickets_) {
        const std::uint64_t held = &other == &ticket ? ticket.wanted : other.held;
        uploads.emplace_back(other.need - held, held);
    }
    std::sort(uploads.begin(), uploads.end());
    std::uint64_t free = limit_ - held_ - (ticket.wanted - ticket.held);
    for (const auto& [missing, held] : uploads) {
        if (missing > free) {
            return false;
        }
        free += held;
    }
    return true;
}

bool Admission::settle(const shm::JobId& id, std::uint64_t bytes, Grant& grant,
                       const Caller& caller) {
    const auto [place, fresh] = tickets_.try_emplace(id);
    Ticket& ticket = place->second;
    const bool waited = ticket.wanted > ticket.held;
    if (fresh) {
        ticket.age = next_age_++;
        ticket.caller = caller;
        callers_.take(caller);
    } else if (waited) {
        missing_ -= ticket.wanted - ticket.held;
        waiting_.erase(ticket.age);
        grant = {id, !ticket.admitted, bytes};
    }
    need_ = need_ - ticket.need + bytes;
    held_ = held_ - ticket.held + bytes;
    ticket.need = ticket.held = ticket.wanted = bytes;
    ticket.admitted = true;
    return waited;
}

bool Admission::give_back(const shm::JobId& id, Grant& grant) {
    const auto found = tickets_.find(id);
    if (found == tickets_.end()) {
        return false;
    }
    const Ticket& ticket = found->second;
    const bool waited = ticket.wanted > ticket.held;
    if (waited) {
        missing_ -= ticket.wanted - ticket.held;
        waiting_.erase(ticket.age);
        grant = {id, !ticket.admitted, 0};
    }
    need_ -= ticket.need;
    held_ -= ticket.held;
    callers_.give_back(ticket.caller);
    tickets_.erase(found);
    return waited;
}

void Admission::forget(std::uint64_t epoch) {
    std::vector<shm::JobId> ids;
    for (const auto& [id, ticket] : tickets_) {
        if (id.epoch == epoch) {
            ids.push_back(id);
        }
    }
    for (const auto& id : ids) {
        give_back(id);
    }
}

std::vector<Admission::Grant> Admission::take_grants() {
    std::vector<Grant> out;
    for (auto at = waiting_.begin(); at != waiting_.end();) {
        Ticket& ticket = tickets_.at(at->second);
        if (!grantable(ticket)) {
            ++at;
            continue;
        }
        missing_ -= ticket.wanted - ticket.held;
        hold(ticket, ticket.wanted);
        out.push_back({at->second, !ticket.admitted, ticket.held});
        ticket.admitted = true;
        at = waiting_.erase(at);
    }
    return out;
}

std::uint64_t Admission::held_bytes(const shm::JobId& id) const {
    const auto found = tickets_.find(id);
    return found == tickets_.end() ? 0 : found->second.held;
}

}  // namespace sonogate::broker
