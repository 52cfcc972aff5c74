// Content that workers died of, and for how long it is not tried again.
//
// For: Blame, which says what a worker died of, and Jobs, which asks before a worker gets a job.
// While nothing is quarantined that costs one comparison a job; else only content of a size that is
// in quarantine is hashed, a piece at a time. Not for: who sent it (crash_budget.hpp). One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "broker/content.hpp"
#include "shm/layout.hpp"

namespace sonogate::broker {

class Quarantine {
  public:
    static constexpr std::size_t most_contents = 1024;
    static constexpr unsigned deaths_to_hold = 2;

    Quarantine();

    // How long content stays, from the death that put it there; and how long a death is remembered.
    // 0 = nothing is held.
    void set_time(std::uint64_t ns) noexcept { time_ns_ = ns; }

    // Reads the content of a job whose upload is that.
    ContentReader reader(const shm::Submission& submission,
                         std::shared_ptr<const Slab> slab) const {
        return {key_, submission.audio_bytes, std::move(slab)};
    }

    // So many workers died of it. The oldest entries make room.
    void note_deaths(const Content& content, unsigned deaths, std::uint64_t now_ns);

    // True where content of that size is held, so that it is worth to read an upload.
    bool holds_any_of(std::uint64_t bytes, std::uint64_t now_ns) const;

    // True where a job of that content must not reach a worker.
    bool holds(const std::optional<Content>& content, std::uint64_t now_ns) const;

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

    ContentKey key_{};  // random: nobody can make two contents meet
    std::uint64_t time_ns_ = 0;
    std::uint64_t stamp_ = 0;
    std::unordered_map<Content, Entry, ContentHash> entries_;
};

}  // namespace sonogate::broker
