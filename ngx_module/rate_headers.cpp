#include "ngx_module/rate_headers.hpp"

namespace sonogate::ngx_module {

namespace {

void begin_item(bool first, std::string_view name, TextBuffer& out) noexcept {
    if (!first) {
        out.text(",");
    }
    out.text("\"").text(name);
}

std::uint64_t left_of(const ToldRate& rate) noexcept {
    return told_amount(rate.window->unit, rate.window->remaining(rate.ahead));
}

}  // namespace

void write_rate_policies(std::span<const ToldRate> rates, TextBuffer& out) noexcept {
    for (const ToldRate& rate : rates) {
        const RateWindow& window = *rate.window;
        begin_item(&rate == rates.data(), rate.name, out);
        out.text("\";q=").number(told_amount(window.unit, window.quota));
        out.text(";w=").number(window.period_s);
        if (window.unit != RateUnit::requests) {
            out.text(window.unit == RateUnit::bytes ? ";qu=\"content-bytes\""
                                                    : ";qu=\"audio-seconds\"");
        }
    }
}

void write_rate_limits(std::span<const ToldRate> rates, TextBuffer& out) noexcept {
    for (const ToldRate& rate : rates) {
        begin_item(&rate == rates.data(), rate.name, out);
        out.text("\";r=").number(left_of(rate)).text(";t=").number(whole_seconds(rate.ahead));
    }
}

const ToldRate& tightest_rate(std::span<const ToldRate> rates) noexcept {
    const ToldRate* out = &rates.front();
    for (const ToldRate& rate : rates) {
        const bool comparable = rate.window->unit == out->window->unit;
        const bool better_unit = rate.window->unit < out->window->unit;
        if (better_unit || (comparable && left_of(rate) < left_of(*out))) {
            out = &rate;
        }
    }
    return *out;
}

}  // namespace sonogate::ngx_module
