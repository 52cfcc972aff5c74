#include "broker/blame.hpp"

#include <utility>

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
    ++convictions_;
    budget_.note_crash(suspect.identity, now_ns());
    if (suspect.content) {
        verdicts_.push_back({suspect.content, deaths});
        put_away();
    }
}

Blame::Suspect Blame::suspect_of(const shm::Submission& submission,
                                 const std::shared_ptr<Slab>& slab) {
    auto content = std::make_shared<ContentReader>(quarantine_.reader(submission, slab));
    if (submission.audio_bytes <= small_bytes) {
        while (!content->step()) {
        }
    } else if (readings_.size() < most_readings) {
        readings_.push_back(content);
    } else {
        content = nullptr;
    }
    return {std::move(content), submission.identity};
}

bool Blame::work() {
    if (readings_.empty()) {
        return false;
    }
    if (readings_.front()->step()) {
        readings_.pop_front();
        put_away();
    }
    return true;
}

// The content of verdicts that is known by now.
void Blame::put_away() {
    const std::uint64_t now = now_ns();
    std::erase_if(verdicts_, [&](const Verdict& verdict) {
        if (const auto content = verdict.content->content()) {
            quarantine_.note_deaths(*content, verdict.deaths, now);
        }
        return verdict.content->is_done();
    });
}

}  // namespace sonogate::broker
