#include "broker/quarantine.hpp"

#include <highwayhash/c_bindings.h>
#include <sys/random.h>

#include <algorithm>

namespace sonogate::broker {

Quarantine::Quarantine() {
    // Where there is no randomness the key is zero, and a collision can be made: the harm is that
    // somebody's own content is refused.
    (void)!::getrandom(key_.data(), sizeof(key_), 0);
}

std::optional<Content> Quarantine::content_of(const shm::Submission& submission,
                                              const Slab* slab) const {
    if (slab == nullptr || submission.audio_bytes == 0) {
        return std::nullopt;
    }
    shm::Mapping mapping;
    const std::byte* data = slab->mapping.data();
    if (!slab->warm) {
        auto mapped = shm::map_peer_segment(slab->fd.get(), slab->bytes);
        if (!mapped) {
            return std::nullopt;
        }
        mapping = std::move(*mapped);
        data = mapping.data();
    }
    const std::uint64_t hashed = std::min(submission.audio_bytes, most_hashed_bytes);
    const auto* const bytes = reinterpret_cast<const char*>(data + shm::slab_audio_offset);
    return Content{submission.audio_bytes, HighwayHash64(key_.data(), bytes, hashed)};
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

bool Quarantine::holds(const shm::Submission& submission, const Slab* slab, std::uint64_t now_ns) {
    const bool same_size = std::any_of(entries_.begin(), entries_.end(), [&](const auto& known) {
        return known.first.bytes == submission.audio_bytes && is_held(known.second, now_ns);
    });
    if (!same_size) {
        return false;
    }
    const auto content = content_of(submission, slab);
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
