// When the quota of each key will be full again: a fixed table of words that processes share.
//
// A word is a key's: 22 bits tell whose, 42 bits when (1/64 ms of the monotonic clock, which wraps
// after two years). It changes by one compare-and-swap, so there is no lock, and a process that
// dies leaves nothing to repair. A key may lie in any of the 8 words of its set, one cache line.
//
// A newcomer takes over the word with the least time, whether that has passed or not, and inherits
// the time where it is still to come. Two promises follow:
//
//   Nobody gets rid of a debt. Who is pushed out had the least time of the set; all that are left
//   have more, times only grow, and so it finds at least its own when it returns.
//
//   A key has one word, however many processes meet. Say A and B both find a key missing, A puts it
//   into word a and B into word b. Each swap succeeds only on what was read, and words only grow.
//   So A, who preferred a, read a ≤ b, with b no more than what B replaced; B, who preferred b,
//   read b ≤ a, with a no more than what A replaced. Both hold only where they are equal, and
//   then both prefer the same one. This needs the order of changes of one word only: relaxed
//   operations do. It also needs that nothing is ever given back: times would shrink.
//
// A table serves windows of one period, so that words of a set are alike: a newcomer to a window of
// a second does not inherit the hours of one of a day. Any windows may share a table where that
// does not matter.
//
// For: rate.cpp. Not for: the meaning of a time (rate_window.hpp). Any number of processes.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "ngx_module/rate_window.hpp"

namespace sonogate::ngx_module {

using RateWord = std::atomic<std::uint64_t>;
static_assert(RateWord::is_always_lock_free && sizeof(RateWord) == 8);

class RateTable {
  public:
    static constexpr std::size_t ways = 8;
    static constexpr Ticks longest_ahead = Ticks{1} << 40U;  // 199 days: a debt is cut there
    static constexpr Ticks no_limit = longest_ahead;

    // Where a key's time lies, or would.
    struct Place {
        RateWord* word = nullptr;
        std::uint64_t seen = 0;
        Ticks ahead = 0;  // from now until the quota is full; 0 = it is
    };

    RateTable() noexcept = default;
    // Zeroed words, aligned to 64 bytes, at least one set; borrowed.
    explicit RateTable(std::span<RateWord> words) noexcept
        : words_(words.data()), sets_(words.size() / ways) {}

    Place find(std::uint64_t key, Ticks now) const noexcept;

    // Moves the key's time on by `cost`, unless it would be more than `most` from now then: false,
    // and the place tells why.
    bool charge(Place& place, std::uint64_t key, Ticks now, Ticks cost, Ticks most) const noexcept;

  private:
    RateWord* words_ = nullptr;
    std::uint64_t sets_ = 0;
};

}  // namespace sonogate::ngx_module
