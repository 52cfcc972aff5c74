#include "ngx_module/rate_conf.hpp"

#include <algorithm>
#include <array>
#include <new>

#include "ngx_module/conf.hpp"
#include "ngx_module/key_hash.hpp"
#include "ngx_module/rate_headers.hpp"

namespace sonogate::ngx_module {

namespace {

constexpr std::size_t most_zone_name_bytes = 32;

char* const conf_error = static_cast<char*>(NGX_CONF_ERROR);

MainConf& main_conf_of(ngx_conf_t* cf) noexcept {
    return *static_cast<MainConf*>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_sonogate_module));
}

template <typename T>
T* made(ngx_conf_t* cf) noexcept {
    void* memory = ngx_palloc(cf->pool, sizeof(T));
    return memory == nullptr ? nullptr : new (memory) T;
}

char* refuse(ngx_conf_t* cf, const ngx_str_t& word, const char* why) noexcept {
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" %s", &word, why);
    return conf_error;
}

// What stands behind `NAME=`. False where the word is another.
bool argument_of(const ngx_str_t& word, std::string_view name, ngx_str_t& out) noexcept {
    const std::string_view text = view(word);
    if (!text.starts_with(name) || text.size() <= name.size() || text[name.size()] != '=') {
        return false;
    }
    out = {word.len - name.size() - 1, word.data + name.size() + 1};
    return true;
}

// The zone of that name, made where it is mentioned for the first time.
RateZone* zone_named(ngx_conf_t* cf, std::string_view name) noexcept {
    MainConf& main = main_conf_of(cf);
    auto** zones = static_cast<RateZone**>(main.rate_zones.elts);
    for (ngx_uint_t i = 0; i < main.rate_zones.nelts; ++i) {
        if (view(zones[i]->name) == name) {
            return zones[i];
        }
    }
    auto* zone = made<RateZone>(cf);
    auto** place = static_cast<RateZone**>(ngx_array_push(&main.rate_zones));
    if (zone == nullptr || place == nullptr ||
        // NOLINTNEXTLINE(bugprone-sizeof-expression): it holds pointers
        ngx_array_init(&zone->tables, cf->pool, 4, sizeof(RateWords*)) != NGX_OK) {
        return nullptr;
    }
    zone->name = copied(cf->pool, name);
    return *place = zone;
}

bool is_zone_name(std::string_view name) noexcept {
    return !name.empty() && name.size() <= most_zone_name_bytes &&
           std::all_of(name.begin(), name.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-';
           });
}

std::span<RateWords* const> tables_of(const RateZone& zone) noexcept {
    return {static_cast<RateWords* const*>(zone.tables.elts), zone.tables.nelts};
}

// All pages of the zone are one table; it is there already after a reload.
ngx_int_t attach_words(ngx_shm_zone_t* shared, void*) noexcept {
    auto& words = *static_cast<RateWords*>(shared->data);
    auto* pool = reinterpret_cast<ngx_slab_pool_t*>(shared->shm.addr);
    const std::size_t bytes = static_cast<std::size_t>(pool->last - pool->pages) * ngx_pagesize;
    if (pool->data == nullptr) {
        pool->data = ngx_slab_alloc(pool, bytes);  // fresh pages are zero
    }
    if (pool->data == nullptr) {
        return NGX_ERROR;
    }
    words.table = RateTable({static_cast<RateWord*>(pool->data), bytes / sizeof(RateWord)});
    return NGX_OK;
}

const RateTable* add_table(ngx_conf_t* cf, RateZone& zone, std::uint32_t period_s) noexcept {
    for (const RateWords* known : tables_of(zone)) {
        if (known->period_s == period_s) {
            return &known->table;
        }
    }
    auto* words = made<RateWords>(cf);
    auto** place = static_cast<RateWords**>(ngx_array_push(&zone.tables));
    constexpr std::size_t room = most_zone_name_bytes + 32;
    auto* text = static_cast<u_char*>(ngx_pnalloc(cf->pool, room));
    if (words == nullptr || place == nullptr || text == nullptr) {
        return nullptr;
    }
    const u_char* end =
        ngx_snprintf(text, room, "sonogate_rate:%V:%uD", &zone.name, ngx_uint_t{period_s});
    ngx_str_t name{static_cast<std::size_t>(end - text), text};
    ngx_shm_zone_t* shared =
        ngx_shared_memory_add(cf, &name, zone.bytes, &ngx_http_sonogate_module);
    if (shared == nullptr) {
        return nullptr;
    }
    shared->init = attach_words;
    shared->data = words;
    words->period_s = period_s;
    *place = words;
    return &words->table;
}

// ---- sonogate_rate, word by word

// What one directive says beside its policies.
struct Line {
    RateRule common;
    std::size_t first_rule = 0;
};

// nginx closes the connection where it is given one of these, or answers with 400.
bool is_silent(ngx_int_t status) noexcept {
    return status == NGX_HTTP_REQUEST_TIME_OUT || status == NGX_HTTP_CLOSE ||
           (status >= NGX_HTTP_NGINX_CODES && status <= NGX_HTTP_CLIENT_CLOSED_REQUEST);
}

// Null, or why not; `taken` where the word is an option.
const char* take_option(ngx_conf_t* cf, Line& line, const ngx_str_t& word, bool& taken) noexcept {
    ngx_str_t value{};
    taken = true;
    if (view(word) == "dry_run") {
        line.common.dry_run = true;
    } else if (argument_of(word, "zone", value)) {
        line.common.zone = is_zone_name(view(value)) ? zone_named(cf, view(value)) : nullptr;
        return line.common.zone == nullptr ? "is not a zone's name" : nullptr;
    } else if (argument_of(word, "burst", value)) {
        line.common.burst = value;
    } else if (argument_of(word, "status", value)) {
        const ngx_int_t status = ngx_atoi(value.data, value.len);
        if (status < 400 || status > 599 || is_silent(status)) {
            return "must be a status from 400 to 599, but for 408, 444 and 494 to 499, which nginx "
                   "does not answer with";
        }
        line.common.status = static_cast<std::uint16_t>(status);
    } else if (argument_of(word, "if", value)) {
        auto* condition = made<CallerKey>(cf);
        if (condition == nullptr || !condition->compile(cf, view(value))) {
            return "is not a condition";
        }
        line.common.condition = condition;
    } else {
        taken = false;
    }
    return nullptr;
}

// Null, or why not.
const char* add_policy(ngx_conf_t* cf, Rates& rates, const ngx_str_t& word) noexcept {
    auto* rule = static_cast<RateRule*>(ngx_array_push(&rates.rules));
    if (rule == nullptr || rates.rules.nelts > most_rates) {
        return "is one too many: 16 policies at the most";
    }
    new (rule) RateRule;
    if (view(word).find('$') != std::string_view::npos) {
        auto* policy = made<CallerKey>(cf);
        if (policy == nullptr || !policy->compile(cf, view(word))) {
            return "is not a policy";
        }
        rule->policy = policy;
        rule->may_repeat = true;
        rates.has_policy = true;
        return nullptr;
    }
    const auto window = parse_rate_window(view(word));
    if (!window) {
        return "is not a policy: write 10r/m for requests, 600s/m for seconds of audio, 100m/h for "
               "bytes; a window is a day at the most";
    }
    rule->window = *window;
    return nullptr;
}

// The rules of the line get what it says of all of them. Null, or why not.
const char* finish_line(Rates& rates, const Line& line) noexcept {
    if (line.common.zone == nullptr) {
        return "needs zone=NAME";
    }
    if (line.first_rule == rates.rules.nelts) {
        return "needs a policy, as 10r/m";
    }
    auto* rules = static_cast<RateRule*>(rates.rules.elts);
    for (std::size_t i = line.first_rule; i < rates.rules.nelts; ++i) {
        RateRule rule = line.common;
        rule.window = rules[i].window;
        rule.policy = rules[i].policy;
        rule.may_repeat = rules[i].may_repeat;
        rules[i] = rule;
        if (rule.burst.len != 0 && rule.policy == nullptr &&
            !set_rate_burst(rules[i].window, view(rule.burst))) {
            return "has a burst that is no number of what its windows count, or above their quota";
        }
    }
    return nullptr;
}

// ---- the merge

bool same_place(const RateRule& a, const RateRule& b) noexcept {
    return a.zone == b.zone && a.window.unit == b.window.unit &&
           a.window.period_s == b.window.period_s;
}

bool same_window(const RateRule& a, const RateRule& b) noexcept {
    return a.policy == nullptr && b.policy == nullptr && same_place(a, b) && a.dry_run == b.dry_run;
}

char* refuse_rule(ngx_conf_t* cf, const Rates& rates, const RateRule& rule,
                  const char* why) noexcept {
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"sonogate_rate zone=%V\" %s in %V", &rule.zone->name,
                  why, &rates.where);
    return conf_error;
}

// Of windows alike the first whose condition holds counts: they have one name.
char* name_rule(ngx_conf_t* cf, const Rates& rates, RateRule& rule) noexcept {
    for (const RateRule& earlier : rates.all()) {
        if (&earlier == &rule) {
            break;
        }
        if (same_window(earlier, rule)) {
            if (earlier.condition == nullptr) {
                return refuse_rule(cf, rates, rule, "has a window twice, the first without if=");
            }
            rule.name = earlier.name;
            rule.may_repeat = true;
            return NGX_CONF_OK;
        }
        rule.may_repeat = rule.may_repeat || earlier.policy != nullptr;
    }
    rule.name = unique_rate_name(cf->pool, rule, rates.all());
    return rule.name.data == nullptr ? conf_error : NGX_CONF_OK;
}

// What clients are told of the policies, once for all requests where it depends on none.
bool write_policies(ngx_conf_t* cf, Rates& rates) noexcept {
    std::array<ToldRate, most_rates> told;
    std::size_t count = 0;
    for (const RateRule& rule : rates.all()) {
        if (rule.policy != nullptr || rule.condition != nullptr || rule.dry_run) {
            return true;
        }
        told[count++] = {view(rule.name), &rule.window, 0};
    }
    char room[most_rates * rate_header_bytes];
    TextBuffer text(room);
    write_rate_policies(std::span(told.data(), count), text);
    rates.policies = copied(cf->pool, text.view());
    return rates.policies.data != nullptr;
}

char* resolve(ngx_conf_t* cf, Rates& rates) noexcept {
    rates.resolved = true;
    auto* rules = static_cast<RateRule*>(rates.rules.elts);
    for (std::size_t i = 0; i < rates.rules.nelts; ++i) {
        RateRule& rule = rules[i];
        if (rule.zone->bytes == 0) {
            return refuse_rule(cf, rates, rule, "names a sonogate_rate_zone that is not there");
        }
        const RateTable* table =
            add_table(cf, *rule.zone, rule.policy == nullptr ? rule.window.period_s : 0);
        if (table == nullptr) {
            return conf_error;
        }
        if (rule.policy == nullptr) {
            rule.table = table;
            if (char* named = name_rule(cf, rates, rule); named != NGX_CONF_OK) {
                return named;
            }
        }
    }
    return write_policies(cf, rates) ? NGX_CONF_OK : conf_error;
}

}  // namespace

ngx_conf_enum_t rate_header_styles[] = {{ngx_string("draft"), rate_headers_draft},
                                        {ngx_string("legacy"), rate_headers_legacy},
                                        {ngx_string("off"), rate_headers_off},
                                        {ngx_null_string, 0}};

const RateTable* RateZone::table_of(std::uint32_t period_s) const noexcept {
    const RateTable* any = nullptr;
    for (const RateWords* words : tables_of(*this)) {
        if (words->period_s == period_s) {
            return &words->table;
        }
        any = words->period_s == 0 ? &words->table : any;
    }
    return any;
}

ngx_str_t unique_rate_name(ngx_pool_t* pool, const RateRule& rule, std::span<const RateRule> named,
                           std::span<const RateRule* const> made) noexcept {
    char room[most_zone_name_bytes + 32];
    TextBuffer name(room);
    const auto has_it = [&](const RateRule& other) noexcept {
        return view(other.name) == name.view() && !same_place(other, rule);
    };
    for (unsigned attempt = 0;; ++attempt) {
        name = TextBuffer(room);
        write_rate_name(rule.window, name);
        if (attempt > 0) {
            name.text("-").text(view(rule.zone->name));
        }
        if (attempt > 1) {
            name.text("-").number(attempt);
        }
        if (std::none_of(named.begin(), named.end(), has_it) &&
            std::none_of(made.begin(), made.end(), [&](auto* other) { return has_it(*other); })) {
            return copied(pool, name.view());
        }
    }
}

// `sonogate_rate_zone NAME:SIZE [key=KEY]`
char* set_rate_zone(ngx_conf_t* cf, ngx_command_t*, void*) noexcept {
    auto* words = static_cast<ngx_str_t*>(cf->args->elts);
    const std::string_view text = view(words[1]);
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos || !is_zone_name(text.substr(0, colon))) {
        return refuse(cf, words[1], "must be NAME:SIZE; names are of A-Z a-z 0-9 _ -");
    }
    ngx_str_t size_text{words[1].len - colon - 1, words[1].data + colon + 1};
    const ssize_t bytes = ngx_parse_size(&size_text);
    if (bytes < static_cast<ssize_t>(8 * ngx_pagesize)) {
        return refuse(cf, words[1], "must have a size of at least 32k");
    }
    if (!make_key_secret()) {
        return refuse(cf, words[0], "needs random bytes, and there are none");
    }
    RateZone* zone = zone_named(cf, text.substr(0, colon));
    if (zone == nullptr) {
        return conf_error;
    }
    if (zone->bytes != 0) {
        return refuse(cf, words[1], "is the name of another sonogate_rate_zone");
    }
    zone->bytes = static_cast<std::size_t>(bytes);
    ngx_str_t key = borrowed(default_caller_key);
    if (cf->args->nelts == 3 && !argument_of(words[2], "key", key)) {
        return refuse(cf, words[2], "is not key=VARIABLE");
    }
    return zone->key.compile(cf, view(key)) ? NGX_CONF_OK : conf_error;
}

char* set_rate(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& loc = *static_cast<LocConf*>(conf);
    const std::span<const ngx_str_t> words(static_cast<const ngx_str_t*>(cf->args->elts),
                                           cf->args->nelts);
    if (loc.rates == nullptr) {
        loc.rates = made<Rates>(cf);
        if (loc.rates == nullptr ||
            ngx_array_init(&loc.rates->rules, cf->pool, 4, sizeof(RateRule)) != NGX_OK) {
            return conf_error;
        }
        loc.rates->where = place_in_conf(cf);
    }
    Rates& rates = *loc.rates;
    const bool off = words.size() == 2 && view(words[1]) == "off";
    if (rates.off || (off && rates.rules.nelts != 0)) {
        return refuse(cf, words[0], "is off here and nothing else");
    }
    rates.off = off;
    if (off) {
        return NGX_CONF_OK;
    }
    Line line;
    line.first_rule = rates.rules.nelts;
    for (const ngx_str_t& word : words.subspan(1)) {
        bool taken = false;
        const char* why = take_option(cf, line, word, taken);
        if (why == nullptr && !taken) {
            why = add_policy(cf, rates, word);
        }
        if (why != nullptr) {
            return refuse(cf, word, why);
        }
    }
    const char* why = finish_line(rates, line);
    return why == nullptr ? NGX_CONF_OK : refuse(cf, words[0], why);
}

char* merge_rates(ngx_conf_t* cf, const LocConf& from, LocConf& loc) noexcept {
    if (loc.rates == nullptr) {
        loc.rates = from.rates;
    }
    ngx_conf_merge_uint_value(loc.rate_headers, from.rate_headers, rate_headers_draft);
    return loc.rates == nullptr || loc.rates->resolved ? NGX_CONF_OK : resolve(cf, *loc.rates);
}

}  // namespace sonogate::ngx_module
