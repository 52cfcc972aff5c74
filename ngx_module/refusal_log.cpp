#include "ngx_module/refusal_log.hpp"

#include "ngx_module/request.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

constexpr ngx_uint_t lines_a_second = 10;  // of one kind, in one nginx worker
constexpr ngx_msec_t summary_ms = 1000;

// Refusals of one kind since the last summary.
struct Kind {
    ngx_uint_t seen = 0;
    ngx_uint_t level = NGX_LOG_INFO;  // the gravest that any of those left out had
};

struct Summaries {
    std::array<Kind, errc_count> kinds{};
    ngx_event_t timer{};
    ngx_connection_t nobody{};  // nginx's debug log wants a timer to have one
};

Summaries& summaries() noexcept {
    static Summaries all;
    return all;
}

// The gravest is the smallest number.
ngx_uint_t level_of(const Request& request, Errc code) noexcept {
    const ngx_uint_t chosen = request.conf->log_level;
    if (code == Errc::internal || code == Errc::worker_crashed) {
        return std::min<ngx_uint_t>(chosen, NGX_LOG_ERR);
    }
    return problem_of(code).status >= 500 ? std::min<ngx_uint_t>(chosen, NGX_LOG_WARN) : chosen;
}

void start_timer() noexcept {
    Summaries& all = summaries();
    if (all.timer.timer_set || ngx_exiting) {
        return;
    }
    all.nobody.fd = -1;
    all.timer.data = &all.nobody;
    all.timer.log = ngx_cycle->log;
    all.timer.cancelable = 1;
    all.timer.handler = [](ngx_event_t*) { flush_refusal_log(); };
    ngx_add_timer(&all.timer, summary_ms);
}

}  // namespace

ngx_conf_enum_t refusal_levels[] = {
    {ngx_string("debug"), NGX_LOG_DEBUG},   {ngx_string("info"), NGX_LOG_INFO},
    {ngx_string("notice"), NGX_LOG_NOTICE}, {ngx_string("warn"), NGX_LOG_WARN},
    {ngx_string("error"), NGX_LOG_ERR},     {ngx_null_string, 0}};

void log_refusal(const Request& request, const Failure& why) noexcept {
    const ngx_uint_t level = level_of(request, why.code);
    ngx_log_t* log = request.r->connection->log;
    if (log->log_level < level) {
        return;
    }
    Kind& kind = summaries().kinds[static_cast<std::size_t>(why.code)];
    start_timer();
    if (++kind.seen > lines_a_second) {
        kind.level = std::min(kind.level, level);
        return;
    }
    kind.level = level;
    const ngx_str_t type = borrowed(problem_of(why.code).type);
    const ngx_str_t parameter = borrowed(sonogate::name_of(why.parameter));
    ngx_log_error(level, log, why.error, "sonogate: request %V%s%V: %V%s%V", &request.request_id,
                  request.trace_id.len != 0 ? " of trace " : "", &request.trace_id, &type,
                  parameter.len != 0 ? " " : "", &parameter);
}

void flush_refusal_log() noexcept {
    for (std::size_t i = 0; i < errc_count; ++i) {
        Kind& kind = summaries().kinds[i];
        if (kind.seen > lines_a_second) {
            const ngx_str_t type = borrowed(problem_of(static_cast<Errc>(i)).type);
            ngx_log_error(kind.level, ngx_cycle->log, 0,
                          "sonogate: %ui more refusals in a second: %V", kind.seen - lines_a_second,
                          &type);
        }
        kind = {};
    }
}

}  // namespace sonogate::ngx_module
