#include "ngx_module/rate_window.hpp"

#include <array>
#include <charconv>
#include <limits>

namespace sonogate::ngx_module {

namespace {

__extension__ using Wide = unsigned __int128;  // a byte's cost times a day overflows 64 bits

constexpr std::uint64_t most_amount = std::uint64_t{1} << 50U;

struct Period {
    char letter;
    std::uint32_t seconds;
};
constexpr std::array<Period, 4> periods = {{{'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}}};

// The number at the front of `text`, which is taken off it; nothing where there is none.
std::optional<std::uint64_t> take_number(std::string_view& text) noexcept {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || number > most_amount) {
        return std::nullopt;
    }
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
}

std::optional<std::uint32_t> parse_period(std::string_view text) noexcept {
    std::uint64_t count = 1;
    if (!text.empty() && text.front() >= '0' && text.front() <= '9') {
        const auto number = take_number(text);
        if (!number || *number == 0 || *number > longest_period_s) {
            return std::nullopt;
        }
        count = *number;
    }
    for (const Period& period : periods) {
        if (text.size() == 1 && text.front() == period.letter &&
            count * period.seconds <= longest_period_s) {
            return static_cast<std::uint32_t>(count * period.seconds);
        }
    }
    return std::nullopt;
}

// The factor of a letter behind an amount, and what it counts.
std::optional<std::uint64_t> unit_of(char letter, RateUnit& unit) noexcept {
    unit = RateUnit::bytes;
    switch (letter) {
        case 'r':
            unit = RateUnit::requests;
            return 1;
        case 's':
            unit = RateUnit::audio_ms;
            return 1000;
        case 'b':
            return 1;
        case 'k':
            return 1U << 10U;
        case 'm':
            return 1U << 20U;
        case 'g':
            return 1U << 30U;
        default:
            return std::nullopt;
    }
}

std::optional<std::uint64_t> scaled(std::uint64_t number, std::uint64_t factor) noexcept {
    if (number == 0 || number > most_amount / factor) {
        return std::nullopt;
    }
    return number * factor;
}

// Requests are charged one by one, each rounded up: as many of those shall fit.
void set_capacity(RateWindow& window) noexcept {
    window.cost_of_one = window.cost_of(1);
    window.capacity = window.unit == RateUnit::requests
                          ? static_cast<Ticks>(window.burst) * window.cost_of_one
                          : window.cost_of(window.burst);
}

}  // namespace

Ticks RateWindow::cost_of(std::uint64_t amount) const noexcept {
    const auto period = static_cast<std::uint64_t>(period_s) * ticks_per_s;
    std::uint64_t product = 0;
    if (!__builtin_mul_overflow(amount, period, &product) && product <= UINT64_MAX - quota) {
        return static_cast<Ticks>((product + quota - 1) / quota);
    }
    const Wide ticks = (Wide{amount} * period + quota - 1) / quota;
    constexpr Wide most = std::numeric_limits<Ticks>::max() / 4;
    return static_cast<Ticks>(ticks < most ? ticks : most);
}

std::uint64_t RateWindow::remaining(Ticks ahead) const noexcept {
    if (ahead >= capacity) {
        return 0;
    }
    const auto room = static_cast<std::uint64_t>(capacity - ahead);
    if (unit == RateUnit::requests) {
        return room / static_cast<std::uint64_t>(cost_of_one);
    }
    const auto period = static_cast<std::uint64_t>(period_s) * ticks_per_s;
    return static_cast<std::uint64_t>(Wide{room} * quota / period);
}

std::optional<RateWindow> parse_rate_window(std::string_view text) noexcept {
    const std::size_t slash = text.find('/');
    std::string_view left = text.substr(0, slash);
    const auto number = take_number(left);
    if (slash == std::string_view::npos || !number || left.size() != 1) {
        return std::nullopt;
    }
    RateWindow out;
    const auto factor = unit_of(left.front(), out.unit);
    const auto period_s = parse_period(text.substr(slash + 1));
    const auto quota = factor ? scaled(*number, *factor) : std::nullopt;
    if (!quota || !period_s ||
        (out.unit == RateUnit::requests &&
         *quota > std::uint64_t{*period_s} * static_cast<std::uint64_t>(ticks_per_s))) {
        return std::nullopt;
    }
    out.period_s = *period_s;
    out.quota = out.burst = *quota;
    set_capacity(out);
    return out;
}

bool set_rate_burst(RateWindow& window, std::string_view text) noexcept {
    const auto number = take_number(text);
    if (!number || text.size() > 1) {
        return false;
    }
    std::uint64_t factor = window.unit == RateUnit::audio_ms ? 1000 : 1;
    if (!text.empty()) {
        RateUnit unit{};
        const auto written = unit_of(text.front(), unit);
        if (!written || unit != window.unit) {
            return false;
        }
        factor = *written;
    }
    const auto burst = scaled(*number, factor);
    if (!burst || *burst > window.quota) {
        return false;
    }
    window.burst = *burst;
    set_capacity(window);
    return true;
}

void write_rate_name(const RateWindow& window, TextBuffer& out) noexcept {
    for (const Period& period : periods) {
        if (window.period_s % period.seconds == 0) {
            const std::uint32_t count = window.period_s / period.seconds;
            if (count != 1) {
                out.number(count);
            }
            out.text({&period.letter, 1});
            break;
        }
    }
    if (window.unit != RateUnit::requests) {
        out.text(window.unit == RateUnit::bytes ? "-bytes" : "-audio");
    }
}

}  // namespace sonogate::ngx_module
