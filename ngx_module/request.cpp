#include "ngx_module/request.hpp"

#include "base/clock.hpp"
#include "ngx_module/headers.hpp"
#include "ngx_module/key_hash.hpp"
#include "ngx_module/problem.hpp"
#include "ngx_module/random.hpp"
#include "ngx_module/refusal_log.hpp"
#include "ngx_module/trace.hpp"

#include <algorithm>
#include <new>

namespace sonogate::ngx_module {

namespace {

constexpr off_t small_rest_bytes = 64 << 10;  // a refused body that is read and thrown away

// An IPv6 caller has 2^64 addresses to ask from: the first half is who it is.
std::string_view network_of(const ngx_connection_t& connection) noexcept {
#if (NGX_HAVE_INET6)
    if (connection.sockaddr->sa_family == AF_INET6) {
        const auto& v6 = *reinterpret_cast<const sockaddr_in6*>(connection.sockaddr);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) == 0) {
            return {reinterpret_cast<const char*>(&v6.sin6_addr), sizeof(v6.sin6_addr) / 2};
        }
    }
#endif
    return view(connection.addr_text);
}

bool is_visible_ascii(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

Request* Request::find(ngx_http_request_t* r) noexcept {
    auto* request = static_cast<Request*>(ngx_http_get_module_ctx(r, ngx_http_sonogate_module));
    if (request != nullptr || r->pool == nullptr) {
        return request;
    }
    // An internal redirect, or an error in a filter, cleared the contexts; the cleanup is there.
    for (ngx_pool_cleanup_t* at = r->pool->cleanup; at != nullptr; at = at->next) {
        if (at->handler == destroy && static_cast<Request*>(at->data)->r == r) {
            request = static_cast<Request*>(at->data);
            ngx_http_set_ctx(r, request, ngx_http_sonogate_module);
        }
    }
    return request;
}

Request* Request::of(ngx_http_request_t* r, LocConf& conf) noexcept {
    if (Request* known = find(r); known != nullptr) {
        return known;
    }
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(r->pool, 0);
    void* memory = ngx_palloc(r->pool, sizeof(Request) + alignof(Request) - 1);
    if (cleanup == nullptr || memory == nullptr) {
        return nullptr;
    }
    // A completion is aligned to a cache line, nginx's pools only to a word.
    auto* request = new (ngx_align_ptr(memory, alignof(Request))) Request(r, conf);
    cleanup->handler = destroy;
    cleanup->data = request;
    ngx_http_set_ctx(r, request, ngx_http_sonogate_module);
    return request;
}

Request::Request(ngx_http_request_t* request, LocConf& reached) noexcept
    : r(request),
      entered(&reached),
      cors(decide_cors(request, reached.cors)),
      conf(&reached),
      route(route_of_request(request)),
      started_us(now_us()) {
    timer_.handler = timer;
    timer_.data = this;
    timer_.log = request->connection->log;
    choose_request_id();
    trace_id = borrowed(trace_id_of(request_header(r, "traceparent")));
}

Request::~Request() {
    stop_waiting();
    leave_job();
    if (link_ != nullptr) {
        link_->release(reply);
    }
}

void Request::destroy(void* data) noexcept {
    static_cast<Request*>(data)->~Request();
}

void Request::choose_request_id() noexcept {
    const std::string_view sent = request_header(r, "x-request-id");
    if (!sent.empty() && sent.size() <= shm::text_bytes && is_visible_ascii(sent)) {
        request_id = borrowed(sent);
        return;
    }
    std::array<char, 32> made{};
    write_request_id(made);
    request_id = copied(r->pool, {made.data(), made.size()});
}

const Caller& Request::caller(const KeyTable& table) noexcept {
    if (caller_.table != &table) {
        caller_ = caller_of(r, table);
    }
    return caller_;
}

const Key* Request::key() noexcept {
    const KeyTable* table = loc_conf_of(r)->keys;
    // An error page has no keys of its own: there the key is what it was.
    return table != nullptr ? caller(*table).key : caller_.key;
}

// A name of the key file and an address stay where they are, so their place tells them apart.
std::uint64_t Request::identity_hash() noexcept {
    const Key* known = key();
    const ngx_str_t& who = known != nullptr ? known->name : r->connection->addr_text;
    if (hashed_identity_ != who.data) {
        hashed_identity_ = who.data;
        identity_hash_ = hash_of_key(known != nullptr ? view(who) : network_of(*r->connection));
    }
    return identity_hash_;
}

void Request::leave_job() noexcept {
    if (job_ != nullptr) {
        link_->abandon(*job_);
        job_ = nullptr;
    }
}

void Request::leave_ticket() noexcept {
    if (stage == Stage::granted || stage == Stage::admitted) {
        leave_job();
        stage = Stage::fresh;
    }
}

// ---- waiting

void Request::wait_at_most(ngx_msec_t ms) noexcept {
    stop_waiting();
    // Not cancelable: a worker that shuts down waits for it, and so for the job's answer.
    ngx_add_timer(&timer_, ms);
}

void Request::stop_waiting() noexcept {
    if (timer_.timer_set) {
        ngx_del_timer(&timer_);
    }
}

// Looked at when it was up by the bytes of then: by now more may have come, which buys
// more time. 0 = now; NGX_TIMER_INFINITE = no bound.
ngx_msec_t Request::sender_time_left_ms() const noexcept {
    const ngx_msec_t patience_ms = patience_of(conf->limits, upload.received_bytes());
    const ngx_msec_t spent_ms = ngx_current_msec - receiving_since_ms_;
    return patience_ms == 0 ? NGX_TIMER_INFINITE : patience_ms - std::min(patience_ms, spent_ms);
}

void Request::watch_sender() noexcept {
    const ngx_msec_t left_ms = sender_time_left_ms();
    if (!timer_.timer_set && left_ms != NGX_TIMER_INFINITE) {
        ngx_add_timer(&timer_, left_ms);
    }
}

void Request::watch_client() noexcept {
    if (r != r->main || r->discard_body) {
        return;
    }
    r->read_event_handler = client_readable;
    r->write_event_handler = ngx_http_request_empty_handler;
    ngx_event_t* read = r->connection->read;
    if (read->ready) {
        ngx_post_event(read, &ngx_posted_events);  // the client may have left already
    } else if (ngx_handle_read_event(read, 0) != NGX_OK) {
        r->connection->error = 1;
    }
}

void Request::client_readable(ngx_http_request_t* r) noexcept {
    // Where the client is gone this finalizes with no status; the log shall have one.
    r->headers_out.status = NGX_HTTP_CLIENT_CLOSED_REQUEST;
    ngx_http_test_reading(r);
    if (!r->connection->error) {
        r->headers_out.status = 0;
    }
}

// Ends the request from an event of our own.
void Request::finish(ngx_int_t rc) noexcept {
    ngx_connection_t* connection = r->connection;
    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(connection);
}

void Request::timer(ngx_event_t* event) noexcept {
    static_cast<Request*>(event->data)->on_timer();
}

void Request::on_timer() noexcept {
    ngx_http_set_log_request(r->connection->log, r);
    if (stage == Stage::receiving) {
        if (sender_time_left_ms() == 0) {
            finish(refuse(Errc::upload_timeout));
        } else {
            watch_sender();
        }
    } else if (stage == Stage::working) {
        finish(refuse(Errc::deadline_exceeded));
    } else if (stage == Stage::admission || stage == Stage::paused) {
        finish(refuse(Errc::overloaded));
    }
}

// ---- what the link tells

void Request::on_grant() noexcept {
    ngx_http_set_log_request(r->connection->log, r);
    ngx_connection_t* connection = r->connection;
    if (stage == Stage::admission) {
        stop_waiting();
        stage = Stage::granted;
        r->read_event_handler = ngx_http_block_reading;
        r->write_event_handler = ngx_http_core_run_phases;
        ngx_http_core_run_phases(r);
        ngx_http_run_posted_requests(connection);
    } else if (stage == Stage::paused) {
        stop_waiting();
        stage = Stage::receiving;
        receiving_since_ms_ += ngx_current_msec - paused_since_ms_;
        r->read_event_handler = body_readable;
        pump();
        ngx_http_run_posted_requests(connection);
    }
}

void Request::on_reply(Reply answer) noexcept {
    ngx_http_set_log_request(r->connection->log, r);
    job_ = nullptr;
    stop_waiting();
    stage = Stage::answered;
    reply = std::move(answer);
    note(reply.completion);
    finish(send_reply());
}

void Request::on_failure(const shm::Completion& completion) noexcept {
    ngx_http_set_log_request(r->connection->log, r);
    job_ = nullptr;
    note(completion);
    const shm::FailureFacts& facts = completion.failure;
    const Failure why{.code = static_cast<Errc>(facts.errc),
                      .parameter = static_cast<Parameter>(facts.parameter),
                      .limit = facts.limit,
                      .value = facts.value};
    finish(refuse(why, facts.retry_after_s));
}

void Request::note(const shm::Completion& completion) noexcept {
    answered_by_job = true;
    times = completion.times;
    audio = completion.audio;
    from_cache = completion.cached == 1;
    if (!from_cache) {
        rates.debit_audio(audio.duration_ms);
    }
    const shm::Text& id = completion.track_id;
    if (id.size > 0 && id.size <= shm::text_bytes && is_track_id({id.data.data(), id.size})) {
        track_id = copied(r->pool, {id.data.data(), id.size});
    } else if (!route.track_id.empty()) {
        track_id = borrowed(route.track_id);
    }
}

// ---- a failure becomes the answer

ngx_int_t Request::refuse(const Failure& why, std::uint32_t wanted_retry_after_s) noexcept {
    stop_waiting();
    const bool had_body = stage == Stage::receiving || stage == Stage::paused;
    stage = Stage::answered;
    refused = true;
    failure = why;
    refusal_status = is_rate_limited() && !is_over_crash_budget() ? rates.refusal().status
                                                                  : problem_of(why.code).status;
    retry_after_s = wanted_retry_after_s != 0 ? wanted_retry_after_s : retry_after_of(why.code);
    log_refusal(*this, why);
    if (had_body && r->request_body != nullptr && r->request_body->buf != nullptr) {
        // Part of the body is unread, and nginx's buffer points into a slab that is not ours any
        // more: nobody reads on, the connection lingers and closes.
        ngx_buf_t& buffer = *r->request_body->buf;
        buffer.start = buffer.pos = buffer.last = buffer.end = nullptr;
        r->request_body_no_buffering = 0;
    }
    leave_job();
    const off_t rest = r->headers_in.content_length_n;
    if (had_body || r->headers_in.chunked || rest > small_rest_bytes) {
        r->keepalive = 0;
    }
    expect_spared_ = r->expect_tested == 0;
    r->expect_tested = 1;
    if (why.code == Errc::body_too_large) {
        // Forgotten at once, as nginx would: the location of an error_page may take even less.
        (void)ngx_http_discard_request_body(r);
    }
    if (why.code == Errc::upload_timeout) {
        // nginx closes the connection without an answer where it is given this status.
        r->connection->timedout = 0;
        r->connection->read->timedout = 0;
        return ngx_http_special_response_handler(r, refusal_status);
    }
    return refusal_status;
}

}  // namespace sonogate::ngx_module
