#include "broker/blame.hpp"

#include "base/clock.hpp"
#include "broker/fate.hpp"

namespace sonogate::broker {

void Blame::suspect(std::uint64_t birth, const Suspect& suspect, std::optional<int> status) {
    if (open_.size() >= most_open) {
        open_.erase(open_.begin());  // its news were lost
    }
    open_[birth] = suspect;
    if (status) {
        settle(birth, *status);
    }
}

void Blame::settle(std::uint64_t birth, int status) {
    const auto found = open_.find(birth);
    if (found == open_.end()) {
        return;
    }
    if (is_fault(status)) {
        convict(found->second, 1);
    }
    open_.erase(found);
}

void Blame::convict(const Suspect& suspect, unsigned deaths) {
    const std::uint64_t now = now_ns();
    ++convictions_;
    if (suspect.content) {
        quarantine_.note_deaths(*suspect.content, deaths, now);
    }
    budget_.note_crash(suspect.identity, now);
}

}  // namespace sonogate::broker
