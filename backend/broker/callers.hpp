// How many tickets each caller holds, where its location bounds them.
//
// For: Admission, which takes and gives back with the ticket itself, so that no way out of a ticket
// leaves a count behind. Not for: who a caller is; nginx hashed that. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace sonogate::broker {

struct Caller {
    std::uint64_t hash = 0;
    std::uint16_t most_at_once = 0;  // 0 = it is not counted
};

class Callers {
  public:
    // A caller is counted apart for each bound: locations with the same one share it.
    bool has_room(const Caller& caller) const {
        if (caller.most_at_once == 0) {
            return true;
        }
        const auto found = held_.find(key_of(caller));
        return found == held_.end() || found->second < caller.most_at_once;
    }

    void take(const Caller& caller) {
        if (caller.most_at_once != 0) {
            ++held_[key_of(caller)];
            ++tickets_;
        }
    }

    void give_back(const Caller& caller) {
        const auto found = caller.most_at_once == 0 ? held_.end() : held_.find(key_of(caller));
        if (found == held_.end()) {
            return;
        }
        --tickets_;
        if (--found->second == 0) {
            held_.erase(found);
        }
    }

    std::size_t callers() const noexcept { return held_.size(); }
    std::size_t tickets() const noexcept { return tickets_; }

  private:
    static std::pair<std::uint64_t, std::uint16_t> key_of(const Caller& caller) noexcept {
        return {caller.hash, caller.most_at_once};
    }

    std::map<std::pair<std::uint64_t, std::uint16_t>, std::uint32_t> held_;
    std::size_t tickets_ = 0;
};

}  // namespace sonogate::broker
