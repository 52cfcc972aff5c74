// One window of a rate policy, "10r/m", and its arithmetic.
//
// The algorithm is GCRA (generic cell rate algorithm; ITU-T I.371, 1996; as a virtual clock in
// L. Zhang, SIGCOMM 1990): a key has one number, the time at which its quota will be full again.
// A request moves it on by period/quota, and passes while it stays within the capacity from now.
// So 10r/m lets 10 come at once and then one each 6 s, never more than 19 in any 60 s, and a key
// costs one word whatever the quota.
//
// Times are ticks of 1/64 ms: 15,625 ns exactly, and periods of whole seconds have no remainder.
// Costs are rounded up, so an error of a tick is against the caller, never against the limit.
//
// For: rate.cpp, which keeps the numbers in a RateTable. Not for: who asks. Knows nothing of nginx.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ngx_module/text_buffer.hpp"

namespace sonogate::ngx_module {

using Ticks = std::int64_t;
inline constexpr std::uint64_t tick_ns = 15'625;
inline constexpr Ticks ticks_per_s = 64'000;

enum class RateUnit : std::uint8_t { requests, audio_ms, bytes };

struct RateWindow {
    RateUnit unit = RateUnit::requests;
    std::uint32_t period_s = 0;
    std::uint64_t quota = 0;  // in the unit, a period
    std::uint64_t burst = 0;  // of it at once; at most the quota
    Ticks capacity = 0;       // the same in ticks
    Ticks cost_of_one = 0;

    // How far that amount moves a key's time.
    Ticks cost_of(std::uint64_t amount) const noexcept;
    // What would still pass where the quota is full `ahead` ticks from now.
    std::uint64_t remaining(Ticks ahead) const noexcept;
};

inline constexpr std::uint32_t longest_period_s = 86'400;

// `NUMBERr/PERIOD` requests, `NUMBERs/PERIOD` seconds of audio, `SIZE/PERIOD` bytes (SIZE ends in
// b, k, m or g); PERIOD is s, m, h or d, or a number of them, of a day at the most. Nothing where
// the text is no such thing, or asks for more than one request a tick.
std::optional<RateWindow> parse_rate_window(std::string_view text) noexcept;

// Lets less come at once than the quota: `text` is a number in the window's unit. False where it is
// none, or more than the quota.
bool set_rate_burst(RateWindow& window, std::string_view text) noexcept;

// How clients are told of it: m, h, 10s, m-audio, d-bytes.
void write_rate_name(const RateWindow& window, TextBuffer& out) noexcept;

// The quota in what it was written in: requests, seconds, bytes.
constexpr std::uint64_t told_amount(RateUnit unit, std::uint64_t amount) noexcept {
    return unit == RateUnit::audio_ms ? amount / 1000 : amount;
}

constexpr std::uint64_t whole_seconds(Ticks ticks) noexcept {
    return ticks <= 0 ? 0 : static_cast<std::uint64_t>((ticks + ticks_per_s - 1) / ticks_per_s);
}

}  // namespace sonogate::ngx_module
