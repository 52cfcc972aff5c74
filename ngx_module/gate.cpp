// The gate: who may come in with what, the ticket for a large body, the body, the job.
#include "ngx_module/request.hpp"

#include "base/clock.hpp"
#include "ngx_module/concurrency.hpp"
#include "ngx_module/hosts.hpp"
#include "ngx_module/priority.hpp"
#include "ngx_module/random.hpp"
#include "ngx_module/trace.hpp"
#include "shm/params.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

constexpr off_t max_json_bytes = 64 << 10;      // of a PATCH
constexpr ngx_msec_t answer_slack_ms = 10'000;  // beyond the broker's own deadlines

Method method_of(const ngx_http_request_t* r) noexcept {
    switch (r->method) {
        case NGX_HTTP_GET:
            return Method::get;
        case NGX_HTTP_HEAD:
            return Method::head;
        case NGX_HTTP_POST:
            return Method::post;
        case NGX_HTTP_PATCH:
            return Method::patch;
        case NGX_HTTP_DELETE:
            return Method::del;
        default:
            return Method::other;
    }
}

void set_text(shm::Text& out, std::string_view text) noexcept {
    out.size = static_cast<std::uint16_t>(std::min(text.size(), out.data.size()));
    std::copy_n(text.begin(), out.size, out.data.begin());
}

bool is_catalog_allowed(const LocConf& conf, CatalogUse use) noexcept {
    switch (use) {
        case CatalogUse::none:
            return true;
        case CatalogUse::read:
            return conf.catalog != catalog_off;
        case CatalogUse::write:
            return conf.catalog == catalog_write;
    }
    return false;
}

}  // namespace

Route route_of_request(const ngx_http_request_t* r) noexcept {
    return route_of(method_of(r), view(r->uri));
}

ngx_int_t gate_handler(ngx_http_request_t* r) noexcept {
    if (loc_conf_of(r)->pool == nullptr) {
        if (Request* request = r->internal ? Request::find(r) : nullptr; request != nullptr) {
            request->leave_ticket();
        }
        return NGX_DECLINED;
    }
    Request* request = Request::of(r);
    return request == nullptr ? NGX_HTTP_INTERNAL_SERVER_ERROR : request->check();
}

ngx_int_t content_handler(ngx_http_request_t* r) noexcept {
    Request* request = Request::of(r);
    return request == nullptr ? NGX_HTTP_INTERNAL_SERVER_ERROR : request->content();
}

ngx_int_t Request::check() noexcept {
    if (stage == Stage::granted) {
        stage = Stage::admitted;
        return NGX_DECLINED;
    }
    if (stage == Stage::admission) {
        return NGX_AGAIN;
    }
    if (body_taken_) {
        return NGX_DECLINED;  // an error page inside the API: content() answers
    }
    // Who was sent here by another location (error_page, try_files) has passed that one's gate, and
    // brings its ticket: this one asks anew.
    leave_ticket();
    if (expect_spared_) {
        r->expect_tested = 0;
        expect_spared_ = false;
    }
    conf = loc_conf_of(r);
    stage = Stage::fresh;
    refused = false;
    route = route_of_request(r);
    if (!is_host_known(*this)) {
        return refuse(Errc::unknown_host);
    }
    if (cors.preflight) {
        return answer_preflight();
    }
    if (route.refusal != Errc::ok) {
        return refuse(route.refusal);
    }
    const off_t length = r->headers_in.content_length_n;
    const bool length_known = length >= 0 && !r->headers_in.chunked;
    // Not of what was forgotten already: this is the error page of another location's 413.
    if (length_known && length > conf->max_body_bytes && !r->discard_body) {
        return refuse(Failure{.code = Errc::body_too_large,
                              .limit = static_cast<std::uint64_t>(conf->max_body_bytes),
                              .value = static_cast<std::uint64_t>(length)});
    }
    if (const ngx_int_t rc = check_rates(); rc != NGX_OK) {
        return rc;  // before the key: guessing keys is asking, too
    }
    if (const Errc key = check_key(*this); key != Errc::ok) {
        return refuse(key);
    }
    if (!is_catalog_allowed(*conf, route.catalog)) {
        return refuse(Errc::forbidden);
    }
    const bool has_body = length > 0 || r->headers_in.chunked;
    if (route.takes_audio && !has_body) {
        return refuse(Errc::missing_audio);
    }
    if (route.takes_json && !has_body) {
        return refuse(Errc::malformed_json);
    }
    if (route.takes_json && length_known && length > max_json_bytes) {
        return refuse(Failure{.code = Errc::body_too_large,
                              .limit = max_json_bytes,
                              .value = static_cast<std::uint64_t>(length)});
    }
    // A client that waits before it sends its body is told at once whether it is worth it.
    const bool small = length_known && length <= static_cast<off_t>(shm::ticketless_bytes) &&
                       r->headers_in.expect == nullptr;
    if ((!route.takes_audio && !route.takes_json) || small) {
        return NGX_DECLINED;
    }
    return ask_for_ticket(static_cast<std::uint64_t>(length_known ? length : conf->max_body_bytes));
}

// Before every check of who asks: a browser sends no key with it.
ngx_int_t Request::answer_preflight() noexcept {
    if (!cors.allowed) {
        return refuse(Errc::origin_not_allowed);
    }
    stage = Stage::answered;
    return NGX_HTTP_NO_CONTENT;
}

bool Request::say_who_asks() noexcept {
    job_->endpoint = route.endpoint;
    return set_turn(*this, *job_) && set_caller(*this, *job_);
}

// The body is not asked for (Expect: 100-continue) and not read before the ticket is there.
ngx_int_t Request::ask_for_ticket(std::uint64_t need_bytes) noexcept {
    link_ = &link_of(*conf->pool);
    job_ = &link_->begin(*this);
    if (!say_who_asks()) {
        return refuse(Errc::internal);
    }
    stage = Stage::admission;
    if (const auto asked = link_->admit(*job_, need_bytes); !asked) {
        return refuse(asked.failure());
    }
    wait_at_most(conf->upload_wait_ms);
    watch_client();
    return NGX_AGAIN;
}

ngx_int_t Request::content() noexcept {
    if (body_taken_ || refused) {
        return refuse(refused ? failure : Failure{.code = Errc::internal}, retry_after_s);
    }
    if (route.place != Place::job) {
        if (const ngx_int_t rc = ngx_http_discard_request_body(r); rc != NGX_OK) {
            return rc;
        }
        return route.place == Place::health ? send_health(*this) : send_ready(*this);
    }
    link_ = &link_of(*conf->pool);
    if (job_ == nullptr) {
        job_ = &link_->begin(*this);
        if (!say_who_asks()) {
            return refuse(Errc::internal);
        }
    }
    const bool takes_body = route.takes_audio || route.takes_json;
    if (takes_body || r->args.len > 0) {
        const off_t most_bytes = takes_body ? conf->max_body_bytes : 0;
        if (const auto begun = upload.begin(r, *link_, *job_, most_bytes); !begun) {
            return refuse(begun.failure());
        }
    }
    if (!takes_body) {
        if (const ngx_int_t rc = ngx_http_discard_request_body(r); rc != NGX_OK) {
            return rc;
        }
        ++r->main->count;
        const ngx_int_t rc = submit();
        if (rc != NGX_DONE) {
            --r->main->count;
        }
        return rc;
    }
    if (!rates.charge_body(*this)) {
        return refuse_by_rate();
    }
    prepare_cache();
    body_taken_ = true;
    stage = Stage::receiving;
    receiving_since_ms_ = ngx_current_msec;
    r->request_body_no_buffering = 1;
    const ngx_int_t rc = ngx_http_read_client_request_body(
        r, [](ngx_http_request_t* reading) { Request::find(reading)->take_body(); });
    if (rc == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return refuse(body_too_large());
    }
    if (rc == NGX_HTTP_BAD_REQUEST && r->connection->error) {
        return NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }
    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}

Failure Request::body_too_large() const noexcept {
    return {.code = Errc::body_too_large,
            .limit = static_cast<std::uint64_t>(conf->max_body_bytes)};
}

void Request::take_body() noexcept {
    r->read_event_handler = body_readable;
    r->write_event_handler = ngx_http_request_empty_handler;
    pump();
}

void Request::body_readable(ngx_http_request_t* r) noexcept {
    Request* request = find(r);
    if (request->stage == Stage::receiving) {
        request->pump();
    }
}

void Request::pump() noexcept {
    const Progress progress = upload.pump();
    const bool within_rates = rates.debit_bytes(*this, upload.received_bytes());
    if (!within_rates && progress != Progress::refused && progress != Progress::broken) {
        ngx_http_finalize_request(r, refuse_by_rate());
        return;
    }
    switch (progress) {
        case Progress::waiting:
            watch_sender();
            return;
        case Progress::paused:
            stage = Stage::paused;
            paused_since_ms_ = ngx_current_msec;
            watch_client();
            wait_at_most(conf->upload_wait_ms);
            return;
        case Progress::done:
            upload_done();
            return;
        case Progress::refused:
            ngx_http_finalize_request(r, refuse(upload.failure()));
            return;
        case Progress::broken:
            break;
    }
    if (upload.status() == NGX_HTTP_REQUEST_TIME_OUT) {
        ngx_http_finalize_request(r, refuse(Errc::upload_timeout));
    } else if (r->connection->error) {
        ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
    } else if (upload.status() == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        ngx_http_finalize_request(r, refuse(body_too_large()));
    } else {
        ngx_http_finalize_request(r, refuse(Errc::malformed_request));
    }
}

void Request::upload_done() noexcept {
    if (route.takes_json && upload.audio_bytes() > max_json_bytes) {
        ngx_http_finalize_request(r, refuse({.code = Errc::body_too_large,
                                             .limit = max_json_bytes,
                                             .value = upload.audio_bytes()}));
        return;
    }
    if (const ngx_int_t rc = submit(); rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}

bool Request::set_track_id(shm::Submission& out, Failure& why) noexcept {
    if (!route.track_id.empty()) {
        set_text(out.track_id, route.track_id);
        return true;
    }
    if (route.endpoint != shm::Endpoint::track_create) {
        return true;
    }
    const auto packed = Bytes(job_->slab->params()).first(out.params_bytes);
    const auto params = shm::Params::parse(packed);
    const auto given = params ? params->get(Parameter::track_id) : std::nullopt;
    if (given && !is_track_id(*given)) {
        why = invalid(Parameter::track_id);
        return false;
    }
    if (given) {
        set_text(out.track_id, *given);
        return true;
    }
    std::array<char, 26> made{};
    write_track_id(made);
    set_text(out.track_id, {made.data(), made.size()});
    out.track_id_made = 1;
    return true;
}

// Hands the job over: NGX_DONE. Else what refuse() said, or the answer that was there already.
ngx_int_t Request::submit() noexcept {
    shm::Submission out;
    out.endpoint = route.endpoint;
    if (route.takes_audio || route.takes_json) {
        out.body = route.takes_json ? shm::BodyKind::json : upload.kind();
        out.audio_bytes = upload.audio_bytes();
        out.receive_us = static_cast<std::uint32_t>(upload.last_byte_us() - upload.first_byte_us());
    }
    out.params_bytes = static_cast<std::uint32_t>(upload.params_bytes());
    out.limits = audio_limits_of(conf->limits);
    if (conf->catalog == catalog_write) {
        out.flags |= shm::submission_catalog_write;
    }
    fill_random(out.job_key);
    set_text(out.request_id, view(request_id));
    out.trace_id = trace_bytes(view(trace_id));
    Failure why;
    if (!set_track_id(out, why)) {
        return refuse(why);
    }
    if (add_cache_key(out) && take_from_cache(out.cache_key)) {
        return send_reply();
    }
    stage = Stage::working;
    submitted_us = now_us();
    if (const auto sent = link_->submit(*job_, out); !sent) {
        return refuse(sent.failure());
    }
    const shm::PoolSettings& pool = conf->pool->settings;
    wait_at_most(ngx_msec_t{pool.queue_timeout_ms} + pool.job_deadline_ms + answer_slack_ms);
    watch_client();
    return NGX_DONE;
}

}  // namespace sonogate::ngx_module
