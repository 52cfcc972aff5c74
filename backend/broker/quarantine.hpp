// Content that workers died of, and for how long it is not tried again.
//
// For: Blame, which says what a worker died of, and Jobs, which asks before a worker gets a job.
// While nothing is quarantined that costs one comparison a job; else only content of a size that is
// in quarantine is hashed. Not for: who sent it (crash_budget.hpp). One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/bytes.hpp"
#include "broker/slabs.hpp"
#include "shm/layout.hpp"

namespace sonogate::broker {

// What a job works on, known again: its size, and a keyed hash of its first 64 MiB, so that even
// the largest upload costs the broker's one thread some ten milliseconds.
struct Content {
    std::uint64_t bytes = 0;
    std::uint64_t hash = 0;
    friend bool operator==(const Content&, const Content&) = default;
};

class Quarantine {
  public:
    static constexpr std::size_t most_contents = 1024;
    static constexpr std::uint64_t most_hashed_bytes = 64U << 20U;
    static constexpr unsigned deaths_to_hold = 2;

    Quarantine();

    // How long content stays, from the death that put it there; and how long a death is remembered.
    // 0 = nothing is held.
    void set_time(std::uint64_t ns) noexcept { time_ns_ = ns; }

    // The content of a job whose upload is that; none where there is no upload, or it cannot be
    // read.
    std::optional<Content> content_of(const shm::Submission& submission, const Slab* slab) const;

    // So many workers died of it. The oldest entries make room.
    void note_deaths(const Content& content, unsigned deaths, std::uint64_t now_ns);

    // True where that job must not reach a worker.
    bool holds(const shm::Submission& submission, const Slab* slab, std::uint64_t now_ns);

    // Changes whenever content is put in: who asked before asks again. 0: nothing was, ever.
    std::uint64_t stamp() const noexcept { return stamp_; }
    std::size_t held(std::uint64_t now_ns) const noexcept;

  private:
    struct Entry {
        unsigned deaths = 0;
        std::uint64_t until_ns = 0;
    };
    struct ContentHash {
        std::size_t operator()(const Content& content) const noexcept {
            return static_cast<std::size_t>(content.hash);
        }
    };

    bool is_held(const Entry& entry, std::uint64_t now_ns) const noexcept {
        return entry.deaths >= deaths_to_hold && now_ns < entry.until_ns;
    }
    void make_room(std::uint64_t now_ns);

    std::array<std::uint64_t, 4> key_{};  // random: nobody can make two contents meet
    std::uint64_t time_ns_ = 0;
    std::uint64_t stamp_ = 0;
    std::unordered_map<Content, Entry, ContentHash> entries_;
};

}  // namespace sonogate::broker
