#include "ngx_module/rate_table.hpp"

#include <algorithm>
#include <limits>

namespace sonogate::ngx_module {

namespace {

constexpr unsigned time_bits = 42;
constexpr std::uint64_t time_mask = (std::uint64_t{1} << time_bits) - 1;
constexpr Ticks long_ago = std::numeric_limits<Ticks>::min();

constexpr std::uint64_t tag_of(std::uint64_t key) noexcept {
    const std::uint64_t tag = key << time_bits;
    return tag != 0 ? tag : std::uint64_t{1} << time_bits;  // no word of a key is zero
}

// A time that is further ahead than any charge goes has been passed, before the clock wrapped.
constexpr Ticks ahead_of(std::uint64_t word, Ticks now) noexcept {
    if (word == 0) {
        return long_ago;
    }
    constexpr unsigned unused_bits = 64 - time_bits;
    const std::uint64_t difference = (word - static_cast<std::uint64_t>(now)) << unused_bits;
    const Ticks ahead = static_cast<Ticks>(difference) >> unused_bits;
    return ahead > RateTable::longest_ahead ? long_ago : ahead;
}

}  // namespace

RateTable::Place RateTable::find(std::uint64_t key, Ticks now) const noexcept {
    const std::uint64_t tag = tag_of(key);
    RateWord* const set = words_ + ((key >> 32U) * sets_ >> 32U) * ways;
    Place least;
    Ticks least_ahead = std::numeric_limits<Ticks>::max();
    for (std::size_t way = 0; way < ways; ++way) {
        const std::uint64_t seen = set[way].load(std::memory_order_relaxed);
        const Ticks ahead = ahead_of(seen, now);
        if ((seen ^ tag) <= time_mask) {
            return {&set[way], seen, std::max<Ticks>(ahead, 0)};
        }
        if (ahead < least_ahead) {
            least_ahead = ahead;
            least = {&set[way], seen, std::max<Ticks>(ahead, 0)};
        }
        if (seen == 0) {
            break;  // sets fill from the front, and no word becomes empty again
        }
    }
    return least;
}

bool RateTable::charge(Place& place, std::uint64_t key, Ticks now, Ticks cost,
                       Ticks most) const noexcept {
    for (;;) {
        const Ticks after = std::min(place.ahead + cost, longest_ahead);
        if (after > most) {
            return false;
        }
        const std::uint64_t next =
            tag_of(key) | (static_cast<std::uint64_t>(now + after) & time_mask);
        if (place.word->compare_exchange_strong(place.seen, next, std::memory_order_relaxed)) {
            place = {place.word, next, after};
            return true;
        }
        place = find(key, now);
    }
}

}  // namespace sonogate::ngx_module
