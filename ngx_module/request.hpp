// One request, from the gate to its log line.
//
// For: what all concerns of a request share. It lives in the request's pool, is found again after
// an internal redirect (which clears nginx's module context), and gives everything back when the
// pool goes. Not for: settings or the link's own life.
#pragma once

#include "ngx_module/conf.hpp"
#include "ngx_module/cors.hpp"
#include "ngx_module/keys.hpp"
#include "ngx_module/link.hpp"
#include "ngx_module/rate.hpp"
#include "ngx_module/route.hpp"
#include "ngx_module/upload.hpp"

namespace sonogate::ngx_module {

enum class Stage : std::uint8_t {
    fresh,      // nothing was asked
    admission,  // waits for a ticket
    granted,    // has it, and the phases go on
    admitted,   // … past the gate
    receiving,  // the body arrives
    paused,     // … and waits for memory
    working,    // waits for the answer
    answered,
};

class Request final : public JobOwner {
  public:
    virtual ~Request();  // the pool of the request ends it, nobody else

    // The request's, made at first need; null where memory is short.
    static Request* of(ngx_http_request_t* r) noexcept { return of(r, *loc_conf_of(r)); }
    // … by the settings of a location that it did not come to.
    static Request* of(ngx_http_request_t* r, LocConf& conf) noexcept;
    // … or null where there is none.
    static Request* find(ngx_http_request_t* r) noexcept;

    // gate.cpp
    ngx_int_t check() noexcept;    // PREACCESS
    ngx_int_t content() noexcept;  // the content handler
    void take_body() noexcept;     // nginx has begun to read it

    // request.cpp: another location, or nginx itself, answers what was to be an upload
    void leave_ticket() noexcept;

    // rate.cpp: NGX_OK, or what refuse() said
    ngx_int_t check_rates() noexcept;
    ngx_int_t refuse_by_rate() noexcept;

    // request.cpp: the failure becomes the answer. Returns what a handler returns to nginx.
    ngx_int_t refuse(const Failure& why, std::uint32_t retry_after_s = 0) noexcept;
    ngx_int_t refuse(Errc code) noexcept { return refuse(Failure{.code = code}); }

    // Refused for its rate, whatever the status is here.
    bool is_rate_limited() const noexcept { return refused && failure.code == Errc::rate_limited; }
    // By the daemon, for the workers that its sender crashed; not by a rate of the location.
    bool is_over_crash_budget() const noexcept {
        return is_rate_limited() && rates.status() != RateStatus::rejected;
    }

    // result_cache.cpp: before the body, and after it
    void prepare_cache() noexcept;
    bool add_cache_key(shm::Submission& out) noexcept;        // true where it has one
    bool take_from_cache(const shm::CacheKey& key) noexcept;  // true: reply holds the answer

    // reply.cpp
    ngx_int_t send_reply() noexcept;

    // Whose key it is, by the file of the location that asks; looked up once.
    const Caller& caller(const KeyTable& table) noexcept;
    // … as it was asked last.
    const Caller& known_caller() const noexcept { return caller_; }

    // The key that counts where the request is; null where it has none.
    const Key* key() noexcept;
    // The hash of $sonogate_identity, of an IPv6 address its /64; made once for rates and
    // concurrency.
    std::uint64_t identity_hash() noexcept;

    void on_grant() noexcept override;
    void on_reply(Reply reply) noexcept override;
    void on_failure(const shm::Completion& completion) noexcept override;

    ngx_http_request_t* r = nullptr;
    const LocConf* const entered;  // the first location of ours that the request reached
    const Cors cors;               // … and what it decided
    LocConf* conf = nullptr;       // the one that it is in
    Route route;
    Stage stage = Stage::fresh;
    ngx_str_t request_id{};
    ngx_str_t trace_id{};  // of the traceparent; len 0 where there is none
    std::uint64_t started_us = 0;
    std::uint64_t submitted_us = 0;

    bool refused = false;
    Failure failure{.code = Errc::ok};
    std::uint16_t refusal_status = 0;  // of the failure, or what the location has in its place
    std::uint32_t retry_after_s = 0;
    ngx_str_t problem{};  // the body that takes the place of nginx's own
    bool problem_sent = false;

    bool answered_by_job = false;
    shm::StageTimes times;  // as far as the job came, also where it failed
    shm::AudioFacts audio;
    ngx_str_t track_id{};
    bool from_cache = false;
    Reply reply;
    Upload upload;
    RequestRates rates;

  private:
    Request(ngx_http_request_t* request, LocConf& reached) noexcept;
    void choose_request_id() noexcept;
    ngx_int_t answer_preflight() noexcept;
    bool say_who_asks() noexcept;
    ngx_int_t ask_for_ticket(std::uint64_t need_bytes) noexcept;
    ngx_int_t submit() noexcept;
    Failure body_too_large() const noexcept;
    bool is_charged() const noexcept;
    bool set_track_id(shm::Submission& out, Failure& why) noexcept;
    void pump() noexcept;
    void upload_done() noexcept;
    void watch_client() noexcept;
    void wait_at_most(ngx_msec_t ms) noexcept;
    void watch_sender() noexcept;
    ngx_msec_t sender_time_left_ms() const noexcept;
    void stop_waiting() noexcept;
    void finish(ngx_int_t rc) noexcept;
    void leave_job() noexcept;
    void note(const shm::Completion& completion) noexcept;
    void on_timer() noexcept;
    static void destroy(void* data) noexcept;
    static void timer(ngx_event_t* event) noexcept;
    static void body_readable(ngx_http_request_t* r) noexcept;
    static void client_readable(ngx_http_request_t* r) noexcept;

    Link* link_ = nullptr;
    Job* job_ = nullptr;
    std::uint64_t hashed_for_ = 0;  // the link's epoch whose key hashes the upload
    ngx_event_t timer_{};
    ngx_msec_t receiving_since_ms_ = 0;  // put off by the time that the upload waited for memory
    ngx_msec_t paused_since_ms_ = 0;
    bool body_taken_ = false;
    bool expect_spared_ = false;  // refused before the client was told to send its body
    Caller caller_;
    const u_char* hashed_identity_ = nullptr;  // whose hash identity_hash_ is
    std::uint64_t identity_hash_ = 0;
};

// What the request asks for, before anything was checked.
Route route_of_request(const ngx_http_request_t* r) noexcept;

// The phase handlers, with nginx's signatures.
ngx_int_t gate_handler(ngx_http_request_t* r) noexcept;
ngx_int_t log_handler(ngx_http_request_t* r) noexcept;

// /health and /ready (status.cpp).
ngx_int_t send_health(Request& request) noexcept;
ngx_int_t send_ready(Request& request) noexcept;

// A whole JSON answer in memory that lives as long as the request.
ngx_int_t send_json(ngx_http_request_t* r, ngx_uint_t status, std::string_view body) noexcept;

}  // namespace sonogate::ngx_module
