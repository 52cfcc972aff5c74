#include "ngx_module/rate.hpp"

#include <algorithm>
#include <array>
#include <new>

#include "base/clock.hpp"
#include "ngx_module/request.hpp"

namespace sonogate::ngx_module {

namespace {

Ticks now_ticks() noexcept {
    return static_cast<Ticks>(now_ns() / tick_ns);
}

// A key's word of one window. A bijection of the key's own hash, so nothing collides that did not.
std::uint64_t key_of_window(std::uint64_t key, const RateRule& rule) noexcept {
    const std::uint64_t window = std::uint64_t{rule.window.period_s} << 8U |
                                 static_cast<std::uint64_t>(rule.window.unit) << 1U |
                                 (rule.dry_run ? 1U : 0U);
    std::uint64_t mixed = key ^ window * 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ mixed >> 32U) * 0xd6e8feb86659fd93U;
    return mixed ^ mixed >> 32U;
}

// 0: that of a chunked body is not known.
std::uint64_t declared_bytes(const Request& request) noexcept {
    const off_t length = request.r->headers_in.content_length_n;
    return length > 0 && !request.r->headers_in.chunked ? static_cast<std::uint64_t>(length) : 0;
}

// What has to fit for the request to begin; 0 = the window is not its.
std::uint64_t need_of(const Request& request, RateUnit unit) noexcept {
    const Route& route = request.route;
    switch (unit) {
        case RateUnit::requests:
            return 1;
        case RateUnit::audio_ms:
            return route.takes_audio ? 1000 : 0;
        case RateUnit::bytes:
            return route.takes_audio || route.takes_json
                       ? std::max<std::uint64_t>(declared_bytes(request), 1)
                       : 0;
    }
    return 0;
}

std::string_view next_word(std::string_view& text) noexcept {
    const std::size_t from = std::min(text.find_first_not_of(' '), text.size());
    const std::size_t end = std::min(text.find(' ', from), text.size());
    const std::string_view word = text.substr(from, end - from);
    text.remove_prefix(end);
    return word;
}

}  // namespace

std::string_view name_of(RateStatus status) noexcept {
    constexpr std::array<std::string_view, 4> names = {"", "passed", "rejected",
                                                       "rejected_dry_run"};
    return names[static_cast<std::size_t>(status)];
}

// ---- which windows the request is in

// Of a zone's windows of one unit and period the first whose condition holds is in force.
bool RequestRates::add(Request& request, const RateRule& rule) noexcept {
    for (const Applied& other : rule.may_repeat ? applied() : std::span<Applied>()) {
        if (other.rule->zone == rule.zone && other.rule->window.unit == rule.window.unit &&
            other.rule->window.period_s == rule.window.period_s &&
            other.rule->dry_run == rule.dry_run) {
            return true;
        }
    }
    if (count_ == most_rates) {
        ngx_log_error(NGX_LOG_ERR, request.r->connection->log, 0,
                      "sonogate: request %V: more than %uz rate windows", &request.request_id,
                      most_rates);
        return false;
    }
    Applied& one = applied_[count_];
    one.rule = &rule;
    if (count_ != 0 && applied_[count_ - 1].rule->zone == rule.zone) {
        one.key = applied_[count_ - 1].key;
    } else if (!rule.zone->key.hash(request, one.key)) {
        return false;
    }
    ++count_;
    return true;
}

bool RequestRates::apply_policy(Request& request, const RateRule& rule) noexcept {
    ngx_http_request_t* r = request.r;
    std::string_view text;
    if (!rule.policy->read(r, text)) {
        return false;
    }
    for (std::string_view word = next_word(text); !word.empty(); word = next_word(text)) {
        auto window = parse_rate_window(word);
        void* memory = ngx_palloc(r->pool, sizeof(RateRule));
        if (!window || memory == nullptr ||
            (rule.burst.len != 0 && !set_rate_burst(*window, view(rule.burst)))) {
            const ngx_str_t told = borrowed(word);
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "sonogate: request %V: \"%V\" is not a rate policy", &request.request_id,
                          &told);
            return false;
        }
        auto* made = new (memory) RateRule(rule);
        made->window = *window;
        made->table = rule.zone->table_of(window->period_s);
        std::array<const RateRule*, most_rates> others{};
        std::transform(applied_, applied_ + count_, others.begin(),
                       [](const Applied& other) { return other.rule; });
        made->name = unique_rate_name(r->pool, *made, request.conf->rates->all(),
                                      std::span(others).first(count_));
        if (made->name.data == nullptr || !add(request, *made)) {
            return false;
        }
    }
    return true;
}

bool RequestRates::apply(Request& request, const RateRule& rule) noexcept {
    if (rule.condition != nullptr && !rule.condition->holds(request.r)) {
        return true;
    }
    return rule.policy == nullptr ? add(request, rule) : apply_policy(request, rule);
}

bool RequestRates::collect(Request& request) noexcept {
    const Rates& rates = *request.conf->rates;
    const std::size_t room = rates.has_policy ? most_rates : rates.rules.nelts;
    policies_ = rates.policies;
    applied_ = static_cast<Applied*>(ngx_palloc(request.r->pool, room * sizeof(Applied)));
    if (applied_ == nullptr) {
        return false;
    }
    for (const RateRule& rule : rates.all()) {
        if (!apply(request, rule)) {
            return false;
        }
    }
    return true;
}

// ---- all windows are looked at before any is charged

RequestRates::Verdict RequestRates::check(Request& request) noexcept {
    decided_ = true;
    if (!collect(request)) {
        count_ = 0;  // what was collected was not looked at: nothing to tell, nothing to charge
        return Verdict::failed;
    }
    if (count_ == 0) {
        return Verdict::pass;
    }
    status_ = RateStatus::passed;
    if (look(request) && charge(request)) {
        return Verdict::pass;
    }
    status_ = RateStatus::rejected;
    return Verdict::refused;
}

// Notes that a window refuses. False: so does the request's answer.
bool RequestRates::refuse(const Request& request, Applied& by, Ticks cost) noexcept {
    const RateRule& rule = *by.rule;
    if (rule.dry_run) {
        status_ = RateStatus::rejected_dry_run;
        ngx_log_error(NGX_LOG_NOTICE, request.r->connection->log, 0,
                      "sonogate: request %V: rate-limited by \"%V\" of zone %V, dry run",
                      &request.request_id, &rule.name, &rule.zone->name);
        return true;
    }
    const std::uint64_t wait_s =
        whole_seconds(std::max<Ticks>(by.place.ahead + cost - rule.window.capacity, 1));
    if (refused_by_ == nullptr || wait_s > retry_after_s_) {
        refused_by_ = &by;
        retry_after_s_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(wait_s, UINT32_MAX));
    }
    return false;
}

bool RequestRates::look(const Request& request) noexcept {
    bool passes = true;
    const Ticks now = now_ticks();
    for (Applied& one : applied()) {
        const RateRule& rule = *one.rule;
        one.key = key_of_window(one.key, rule);
        one.now = now;
        one.place = rule.table->find(one.key, now);
        const std::uint64_t need = need_of(request, rule.window.unit);
        const Ticks cost = need == 1 ? rule.window.cost_of_one : rule.window.cost_of(need);
        if (need != 0 && one.place.ahead + cost > rule.window.capacity &&
            !refuse(request, one, cost)) {
            passes = false;
        }
    }
    return passes;
}

// Who loses a race to another process here stays charged in the windows before: a race may refuse
// one too many, and times never shrink (rate_table.hpp).
bool RequestRates::charge(const Request& request) noexcept {
    for (Applied& one : applied()) {
        const RateRule& rule = *one.rule;
        if (rule.window.unit != RateUnit::requests) {
            continue;
        }
        const Ticks cost = rule.window.cost_of_one;
        const bool had_room = one.place.ahead + cost <= rule.window.capacity;
        const bool charged =
            rule.table->charge(one.place, one.key, one.now, cost, rule.window.capacity);
        if (!charged && had_room && !refuse(request, one, cost)) {
            return false;
        }
    }
    return true;
}

// ---- what is known later

void RequestRates::debit_audio(std::uint64_t duration_ms) noexcept {
    if (duration_ms == 0) {
        return;
    }
    for (Applied& one : applied()) {
        const RateRule& rule = *one.rule;
        if (rule.window.unit == RateUnit::audio_ms) {
            one.now = now_ticks();
            one.place = rule.table->find(one.key, one.now);
            (void)rule.table->charge(one.place, one.key, one.now, rule.window.cost_of(duration_ms),
                                     RateTable::no_limit);
        }
    }
}

// What has arrived is charged whether it fits or not, what is only declared where it fits.
bool RequestRates::charge_bytes(const Request& request, std::uint64_t amount,
                                Bytes state) noexcept {
    bool fits = true;
    for (Applied& one : applied()) {
        const RateRule& rule = *one.rule;
        if (rule.window.unit != RateUnit::bytes) {
            continue;
        }
        const Ticks cost = rule.window.cost_of(amount);
        const Ticks capacity = rule.window.capacity;
        const Ticks most = state == Bytes::arrived ? RateTable::no_limit : capacity;
        one.now = now_ticks();
        one.place = rule.table->find(one.key, one.now);
        const bool charged = rule.table->charge(one.place, one.key, one.now, cost, most);
        const bool told = rule.dry_run && status_ == RateStatus::rejected_dry_run;
        if ((!charged || one.place.ahead > capacity) && !told) {
            fits = refuse(request, one, charged ? 0 : cost) && fits;
        }
    }
    status_ = fits ? status_ : RateStatus::rejected;
    return fits;
}

// Not at the door: who is refused for want of a key or of memory has sent nothing yet.
bool RequestRates::charge_body(const Request& request) noexcept {
    if (count_ == 0 || charged_bytes_ != 0) {
        return true;
    }
    charged_bytes_ = declared_bytes(request);
    return charged_bytes_ == 0 || charge_bytes(request, charged_bytes_, Bytes::declared);
}

bool RequestRates::debit_bytes(const Request& request, std::uint64_t received_bytes) noexcept {
    if (count_ == 0 || received_bytes <= charged_bytes_) {
        return true;
    }
    const std::uint64_t more = received_bytes - charged_bytes_;
    charged_bytes_ = received_bytes;
    return charge_bytes(request, more, Bytes::arrived);
}

std::size_t RequestRates::told(std::span<ToldRate, most_rates> out) const noexcept {
    std::size_t count = 0;
    const Ticks now = count_ == 0 ? 0 : now_ticks();
    for (const Applied& one : applied()) {
        if (!one.rule->dry_run) {
            out[count++] = {view(one.rule->name), &one.rule->window,
                            std::max<Ticks>(one.place.ahead - (now - one.now), 0)};
        }
    }
    return count;
}

// ---- in the gate

// Whether this request, or another that belongs to the same of the client, was charged.
bool Request::is_charged() const noexcept {
    if (rates.decided() || r == r->main) {
        return rates.decided();
    }
    for (ngx_pool_cleanup_t* at = r->pool->cleanup; at != nullptr; at = at->next) {
        if (at->handler == destroy && static_cast<Request*>(at->data)->rates.decided()) {
            return true;
        }
    }
    return false;
}

ngx_int_t Request::check_rates() noexcept {
    if (conf->rates == nullptr || conf->rates->off || route.place != Place::job || is_charged()) {
        return NGX_OK;
    }
    switch (rates.check(*this)) {
        case RequestRates::Verdict::pass:
            return NGX_OK;
        case RequestRates::Verdict::failed:
            return refuse(Errc::internal);
        case RequestRates::Verdict::refused:
            break;
    }
    return refuse_by_rate();
}

ngx_int_t Request::refuse_by_rate() noexcept {
    const RateWindow& window = rates.refusal().window;
    return refuse({.code = Errc::rate_limited, .limit = told_amount(window.unit, window.quota)},
                  rates.retry_after_s());
}

}  // namespace sonogate::ngx_module
