// How many workers each identity has crashed, and whether it may have another.
//
// For: Blame, which counts, and Desk, which asks before a worker's job is let in. The quarantine
// stops one file; this stops who sends a new one each time. A leaky bucket: an identity may crash
// `most` at once, and gets one back each time/most. Not for: who an identity is; nginx hashed that.
// One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace sonogate::broker {

class CrashBudget {
  public:
    static constexpr std::size_t most_identities = 4096;

    // `most` in `time_ns`; 0 = any number.
    void set(std::uint32_t most, std::uint64_t time_ns) noexcept {
        each_ns_ = most == 0 ? 0 : time_ns / most;
        time_ns_ = time_ns;
    }

    // A worker crashed on a job of it. 0 is nobody.
    void note_crash(std::uint64_t identity, std::uint64_t now_ns) {
        if (identity == 0 || each_ns_ == 0) {
            return;
        }
        if (empty_at_.size() >= most_identities && !empty_at_.contains(identity)) {
            make_room(now_ns);
        }
        std::uint64_t& at = empty_at_[identity];
        at = std::min(std::max(at, now_ns) + each_ns_, now_ns + time_ns_);
    }

    // Until it may have a worker again; 0 = it may.
    std::uint64_t wait_ns(std::uint64_t identity, std::uint64_t now_ns) const {
        const auto found = each_ns_ == 0 ? empty_at_.end() : empty_at_.find(identity);
        if (found == empty_at_.end()) {
            return 0;
        }
        const std::uint64_t room_at = found->second + each_ns_;
        return room_at > now_ns + time_ns_ ? room_at - now_ns - time_ns_ : 0;
    }

    // Identities that have none left.
    std::size_t spent(std::uint64_t now_ns) const {
        return static_cast<std::size_t>(
            std::count_if(empty_at_.begin(), empty_at_.end(),
                          [&](const auto& known) { return wait_ns(known.first, now_ns) != 0; }));
    }

  private:
    // Who has crashed least of late is forgotten first.
    void make_room(std::uint64_t now_ns) {
        std::erase_if(empty_at_, [&](const auto& known) { return known.second <= now_ns; });
        if (empty_at_.size() >= most_identities) {
            empty_at_.erase(
                std::min_element(empty_at_.begin(), empty_at_.end(),
                                 [](const auto& a, const auto& b) { return a.second < b.second; }));
        }
    }

    std::uint64_t each_ns_ = 0;
    std::uint64_t time_ns_ = 0;
    std::unordered_map<std::uint64_t, std::uint64_t> empty_at_;  // when its bucket has run dry
};

}  // namespace sonogate::broker
