// Headers on every answer of a sonogate location, and problem bodies in place of nginx's pages.
//
// nginx makes its own answers for its own refusals (413, 400, 405, 500 …) and for those statuses
// that our handlers return. Both pass here: where no error_page of the location took the answer
// over, its body becomes problem+json.
#include "ngx_module/filter.hpp"

#include "ngx_module/headers.hpp"
#include "ngx_module/keys.hpp"
#include "ngx_module/problem.hpp"
#include "ngx_module/refusal_log.hpp"
#include "ngx_module/request.hpp"
#include "ngx_module/security_headers.hpp"
#include "ngx_module/text_buffer.hpp"

namespace sonogate::ngx_module {

namespace {

ngx_http_output_header_filter_pt next_header_filter;
ngx_http_output_body_filter_pt next_body_filter;

// Statuses that are the contract's, whoever answered them, are told with what they need.
Failure failure_of(const Request& request, std::uint16_t status) noexcept {
    if (request.refused && request.refusal_status == status) {
        return request.failure;
    }
    Failure failure{.code = errc_of_status(status)};
    if (failure.code == Errc::body_too_large) {
        failure.limit = static_cast<std::uint64_t>(request.conf->max_body_bytes);
        // As it was declared: nginx counts content_length_n down while it throws the body away.
        const ngx_table_elt_t* header = request.r->headers_in.content_length;
        const off_t length =
            header == nullptr ? 0 : ngx_atoof(header->value.data, header->value.len);
        failure.value = length > 0 ? static_cast<std::uint64_t>(length) : 0;
    }
    return failure;
}

ngx_int_t make_problem(Request& request) noexcept {
    ngx_http_request_t* r = request.r;
    const auto status = static_cast<std::uint16_t>(r->headers_out.status);
    auto* room = static_cast<char*>(ngx_pnalloc(r->pool, max_problem_bytes));
    if (room == nullptr) {
        return NGX_ERROR;
    }
    TextBuffer text({room, max_problem_bytes});
    const Failure failure = failure_of(request, status);
    if (failure.code == Errc::ok) {
        write_plain_problem(status, view(request.request_id), text);
    } else {
        if (!request.refused) {
            log_refusal(request, failure);
            request.failure = failure;
            request.retry_after_s = retry_after_of(failure.code);
        }
        write_problem({failure, view(request.request_id), request.retry_after_s, status}, text);
    }
    request.problem = {text.size(), chars(room)};
    r->headers_out.content_length_n = static_cast<off_t>(text.size());
    if (r->headers_out.content_length != nullptr) {
        r->headers_out.content_length->hash = 0;
        r->headers_out.content_length = nullptr;
    }
    ngx_str_set(&r->headers_out.content_type, "application/problem+json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = nullptr;
    return NGX_OK;
}

void add_job_headers(const Request& request, AnswerHeaders& headers) noexcept {
    const shm::StageTimes& times = request.times;
    char room[160];
    TextBuffer timing(room);
    timing.text("queue;dur=").milliseconds(times.queue_us);
    timing.text(", decode;dur=").milliseconds(times.decode_us);
    timing.text(", compute;dur=").milliseconds(times.compute_us);
    timing.text(", search;dur=").milliseconds(times.search_us);
    headers.set_copy("Server-Timing", timing.view());
    headers.set("Cache-Status", request.from_cache ? "sonogate; hit" : "sonogate; fwd=miss");
    if (request.r->headers_out.status == NGX_HTTP_CREATED && request.track_id.len != 0) {
        TextBuffer location(room);
        location.text("/v1/tracks/").text(view(request.track_id));
        headers.set_copy("Location", location.view());
    }
}

// What belongs to a status, whoever decided it.
void add_status_headers(Request& request, AnswerHeaders& headers) noexcept {
    const ngx_uint_t status = request.r->headers_out.status;
    switch (status) {
        case NGX_HTTP_UNAUTHORIZED:
            // Beside the one of auth_basic, where either will do.
            if (const auto challenge = challenge_of(request); !challenge.empty()) {
                headers.add("WWW-Authenticate", challenge);
            }
            break;
        case NGX_HTTP_NOT_ALLOWED:
            if (!request.route.allow.empty()) {
                headers.set("Allow", request.route.allow);
            }
            break;
        default:
            break;
    }
    const bool come_back = status == NGX_HTTP_TOO_MANY_REQUESTS ||
                           status == NGX_HTTP_SERVICE_UNAVAILABLE || request.is_rate_limited();
    if (come_back && request.retry_after_s != 0) {
        char room[16];
        TextBuffer seconds(room);
        headers.set_copy("Retry-After", seconds.number(request.retry_after_s).view());
    }
}

void add_legacy_rate(const ToldRate& rate, AnswerHeaders& headers) noexcept {
    const auto set = [&headers](std::string_view name, std::uint64_t value) noexcept {
        char room[24];
        TextBuffer text(room);
        headers.set_copy(name, text.number(value).view());
    };
    const RateWindow& window = *rate.window;
    set("X-RateLimit-Limit", told_amount(window.unit, window.quota));
    set("X-RateLimit-Remaining", told_amount(window.unit, window.remaining(rate.ahead)));
    set("X-RateLimit-Reset", whole_seconds(rate.ahead));
}

// The daemon's budget of crashed workers, told as a rate of its own.
void add_crash_budget(const Request& request, AnswerHeaders& headers) noexcept {
    const shm::PoolSettings& pool = request.conf->pool->settings;
    char room[64];
    TextBuffer policy(room);
    policy.text("\"crashes\";q=").number(pool.crash_budget);
    headers.set_copy("RateLimit-Policy",
                     policy.text(";w=").number((pool.crash_budget_ms + 999ULL) / 1000).view());
    TextBuffer limit(room);
    headers.set_copy("RateLimit",
                     limit.text("\"crashes\";r=0;t=").number(request.retry_after_s).view());
}

void add_rate_headers(const Request& request, AnswerHeaders& headers) noexcept {
    if (request.is_over_crash_budget()) {
        if (request.conf->rate_headers == rate_headers_draft) {
            add_crash_budget(request, headers);
        }
        return;
    }
    std::array<ToldRate, most_rates> room;
    const std::span rates(room.data(), request.rates.told(room));
    if (rates.empty() || request.conf->rate_headers == rate_headers_off) {
        return;
    }
    if (request.conf->rate_headers == rate_headers_legacy) {
        add_legacy_rate(tightest_rate(rates), headers);
        return;
    }
    const auto write = [&](std::string_view name, auto write_all) noexcept {
        const std::size_t bytes = rates.size() * rate_header_bytes;
        auto* memory = static_cast<char*>(ngx_pnalloc(request.r->pool, bytes));
        TextBuffer text({memory, memory == nullptr ? 0 : bytes});
        write_all(rates, text);
        headers.set(name, text.view());
    };
    if (request.rates.policies().len != 0) {
        headers.set("RateLimit-Policy", view(request.rates.policies()));
    } else {
        write("RateLimit-Policy", write_rate_policies);
    }
    write("RateLimit", write_rate_limits);
}

void add_headers(Request& request, AnswerHeaders& headers) noexcept {
    headers.set("X-Request-Id", view(request.request_id));
    add_cors_headers(request, headers);
    add_status_headers(request, headers);
    add_rate_headers(request, headers);
    if (request.answered_by_job) {
        add_job_headers(request, headers);
    }
}

// Refused before any phase: a request line or headers that cannot be read, no Host, http on an
// https port, no client certificate. nginx sets this handler with the first phase, in each version
// of HTTP; valid_location it sets for HTTP/2 with the stream, and a rewrite clears it.
bool has_no_location_yet(const ngx_http_request_t* r) noexcept {
    return r->write_event_handler == nullptr;
}

bool asked_for_api(const ngx_http_request_t* r) noexcept {
    const std::string_view sent = view(r->unparsed_uri);
    return route_of(Method::get, sent.substr(0, sent.find('?'))).counted !=
           shm::CountedEndpoint::other;
}

// The request of an answer. Some errors come before any phase of ours: those without a location,
// what a location `return`s. Where a page took one over, nothing tells which location it was but
// the path. The first of ours in the server speaks for the API then. Null: nothing of ours.
Request* request_of_answer(ngx_http_request_t* r) noexcept {
    LocConf& here = *loc_conf_of(r);
    Request* known = Request::find(r);
    if (known != nullptr || here.pool != nullptr) {
        return known != nullptr ? known : Request::of(r, here);
    }
    if (!r->error_page && r->err_status < NGX_HTTP_BAD_REQUEST) {
        return nullptr;
    }
    LocConf* api = *here.api;
    if (api != nullptr && (has_no_location_yet(r) || (r->internal && asked_for_api(r)))) {
        return Request::of(r, *api);
    }
    return here.cors != nullptr ? Request::of(r, here) : nullptr;
}

ngx_int_t header_filter(ngx_http_request_t* r) {
    if (r != r->main) {
        return next_header_filter(r);
    }
    const LocConf& here = *loc_conf_of(r);
    const bool ours = here.pool != nullptr || (has_no_location_yet(r) && *here.api != nullptr);
    Request* request = request_of_answer(r);
    if (request != nullptr) {
        request->leave_ticket();  // auth_basic and its like refused what was to be an upload
    }
    if (ours && request == nullptr) {
        return NGX_ERROR;
    }
    // err_status: nginx's own page, or the status that one of our handlers returned.
    const bool page = ours && r->err_status >= NGX_HTTP_BAD_REQUEST &&
                      r->headers_out.status >= NGX_HTTP_BAD_REQUEST;
    if (page && make_problem(*request) != NGX_OK) {
        return NGX_ERROR;
    }
    AnswerHeaders headers(r);
    add_security_headers(r, security_headers_of(r, request), headers);
    if (request != nullptr) {
        add_headers(*request, headers);
    }
    return headers.failed() ? NGX_ERROR : next_header_filter(r);
}

// nginx's page is swallowed; the problem goes out once in its place.
ngx_int_t body_filter(ngx_http_request_t* r, ngx_chain_t* in) {
    Request* request = in == nullptr || r != r->main ? nullptr : Request::find(r);
    if (request == nullptr || request->problem.data == nullptr) {
        return next_body_filter(r, in);
    }
    for (ngx_chain_t* link = in; link != nullptr; link = link->next) {
        link->buf->pos = link->buf->last;
        link->buf->file_pos = link->buf->file_last;
    }
    if (request->problem_sent) {
        return next_body_filter(r, nullptr);
    }
    request->problem_sent = true;
    auto* buffer = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    if (buffer == nullptr) {
        return NGX_ERROR;
    }
    buffer->pos = buffer->start = request->problem.data;
    buffer->last = buffer->end = buffer->pos + request->problem.len;
    buffer->memory = 1;
    buffer->last_buf = 1;
    buffer->last_in_chain = 1;
    ngx_chain_t out{buffer, nullptr};
    return next_body_filter(r, &out);
}

}  // namespace

ngx_int_t install_filters(ngx_conf_t*) {
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;
    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body_filter;
    return NGX_OK;
}

}  // namespace sonogate::ngx_module
