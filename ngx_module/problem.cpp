#include "ngx_module/problem.hpp"

#include <array>

namespace sonogate::ngx_module {

namespace {

// One sentence a code; where a limit, a value or a parameter is known, its own member tells it.
std::string_view detail_of(Errc code) noexcept {
    switch (code) {
        case Errc::malformed_request:
            return "The request cannot be read.";
        case Errc::malformed_multipart:
            return "The multipart/form-data body has no boundary, is cut short, or has a part "
                   "whose headers cannot be read.";
        case Errc::malformed_json:
            return "The body is not a JSON object.";
        case Errc::missing_audio:
            return "Send audio as the request body, as the multipart part file, audio or sample, "
                   "or as the JSON member audio.";
        case Errc::invalid_parameter:
            return "A parameter is repeated, out of range, or not of its kind.";
        case Errc::unauthenticated:
            return "A valid key is needed.";
        case Errc::forbidden:
            return "This is not allowed here.";
        case Errc::origin_not_allowed:
            return "This origin may not use the API.";
        case Errc::not_found:
            return "There is nothing at this path.";
        case Errc::method_not_allowed:
            return "This path has other methods; Allow lists them.";
        case Errc::track_exists:
            return "The track id is taken by a track with other audio.";
        case Errc::upload_offset:
            return "The upload continues at another offset.";
        case Errc::upload_timeout:
            return "The body did not arrive in time.";
        case Errc::body_too_large:
            return "The body is larger than what is accepted here.";
        case Errc::audio_too_long:
            return "The audio is longer than what is accepted here.";
        case Errc::unsupported_format:
            return "The bytes are of no audio format that is accepted here.";
        case Errc::unknown_host:
            return "This host is not served.";
        case Errc::undecodable:
            return "The audio format is known, but nothing in it can be decoded.";
        case Errc::too_short:
            return "The audio has too few samples for this.";
        case Errc::silent:
            return "The audio is silent.";
        case Errc::job_too_large:
            return "This job needs more memory than a job may use.";
        case Errc::quarantined:
            return "This content made workers fail before and is not tried again.";
        case Errc::rate_limited:
            return "Too many requests; Retry-After tells when to come back.";
        case Errc::worker_crashed:
            return "The audio made its worker fail, twice.";
        case Errc::overloaded:
            return "Too much is being worked on; Retry-After tells when to come back.";
        case Errc::concurrency_limited:
            return "Too many requests of this caller are being worked on.";
        case Errc::backend_unavailable:
            return "The processing backend cannot be reached.";
        case Errc::draining:
            return "The processing backend is being stopped.";
        case Errc::deadline_exceeded:
            return "The job took longer than a job may take.";
        case Errc::insufficient_storage:
            return "There is not enough storage for this.";
        default:
            return "Something failed that should not have; the request id finds it in the log.";
    }
}

void begin(TextBuffer& out, std::string_view type, std::string_view title,
           std::uint16_t status) noexcept {
    out.text("{\"type\":").json_string(type).text(",\"title\":").json_string(title);
    out.text(",\"status\":").number(status);
}

}  // namespace

void write_problem(const ProblemText& problem, TextBuffer& out) noexcept {
    const Failure& failure = problem.failure;
    const Problem& known = problem_of(failure.code);
    std::array<char, 64> type_bytes{};
    TextBuffer type(type_bytes);
    type.text("/problems/").text(known.type);
    begin(out, type.view(), known.title, problem.status != 0 ? problem.status : known.status);
    out.text(",\"detail\":").json_string(detail_of(failure.code));
    if (failure.parameter != Parameter::none) {
        out.text(",\"parameter\":").json_string(name_of(failure.parameter));
    }
    if (failure.limit != 0) {
        out.text(",\"limit\":").number(failure.limit);
        if (failure.value != 0) {
            out.text(",\"value\":").number(failure.value);
        }
    }
    if (problem.retry_after_s != 0) {
        out.text(",\"retry_after_s\":").number(problem.retry_after_s);
    }
    out.text(",\"request_id\":").json_string(problem.request_id).text("}");
}

void write_plain_problem(std::uint16_t status, std::string_view request_id,
                         TextBuffer& out) noexcept {
    begin(out, "about:blank", status < 500 ? "Request refused" : "Server error", status);
    out.text(",\"request_id\":").json_string(request_id).text("}");
}

Errc errc_of_status(std::uint16_t status) noexcept {
    switch (status) {
        case 400:
            return Errc::malformed_request;
        case 401:
            return Errc::unauthenticated;
        case 403:
            return Errc::forbidden;
        case 404:
            return Errc::not_found;
        case 405:
            return Errc::method_not_allowed;
        case 408:
            return Errc::upload_timeout;
        case 413:
            return Errc::body_too_large;
        case 421:
            return Errc::unknown_host;
        case 429:
            return Errc::rate_limited;
        case 500:
            return Errc::internal;
        case 503:
            return Errc::overloaded;
        case 504:
            return Errc::deadline_exceeded;
        case 507:
            return Errc::insufficient_storage;
        default:
            return Errc::ok;
    }
}

std::uint32_t retry_after_of(Errc code) noexcept {
    switch (code) {
        case Errc::rate_limited:
        case Errc::overloaded:
        case Errc::concurrency_limited:
        case Errc::backend_unavailable:
            return 1;
        case Errc::draining:
            return 5;
        default:
            return 0;
    }
}

}  // namespace sonogate::ngx_module
