#include "broker/quarantine.hpp"

#include <sys/random.h>

#include <algorithm>

namespace sonogate::broker {

Quarantine::Quarantine() {
    // Where there is no randomness the key is zero, and a collision can be made: the harm is that
    // somebody's own content is refused.
    (void)!::getrandom(key_.data(), sizeof(key_), 0);
}

void Quarantine::note_deaths(const Content& content, unsigned deaths, std::uint64_t now_ns) {
    if (time_ns_ == 0) {
        return;
    }
    if (entries_.size() >= most_contents && !entries_.contains(content)) {
        make_room(now_ns);
    }
    Entry& entry = entries_[content];
    if (now_ns >= entry.until_ns) {
        entry.deaths = 0;  // what was, is forgotten
    }
    entry.deaths += deaths;
    entry.until_ns = now_ns + time_ns_;
    if (entry.deaths >= deaths_to_hold) {
        ++stamp_;
    }
}

bool Quarantine::holds_any_of(std::uint64_t bytes, std::uint64_t now_ns) const {
    return std::any_of(entries_.begin(), entries_.end(), [&](const auto& known) {
        return known.first.bytes == bytes && is_held(known.second, now_ns);
    });
}

bool Quarantine::holds(const std::optional<Content>& content, std::uint64_t now_ns) const {
    const auto found = content ? entries_.find(*content) : entries_.end();
    return found != entries_.end() && is_held(found->second, now_ns);
}

std::size_t Quarantine::held(std::uint64_t now_ns) const noexcept {
    return static_cast<std::size_t>(
        std::count_if(entries_.begin(), entries_.end(),
                      [&](const auto& known) { return is_held(known.second, now_ns); }));
}

// Those past their time go, else the one that would go next.
void Quarantine::make_room(std::uint64_t now_ns) {
    std::erase_if(entries_, [&](const auto& known) { return known.second.until_ns <= now_ns; });
    if (entries_.size() < most_contents) {
        return;
    }
    entries_.erase(std::min_element(
        entries_.begin(), entries_.end(),
        [](const auto& a, const auto& b) { return a.second.until_ns < b.second.until_ns; }));
}

}  // namespace sonogate::broker
