#include "ngx_module/variables.hpp"

#include "ngx_module/keys.hpp"
#include "ngx_module/request.hpp"
#include "ngx_module/text_buffer.hpp"

#include <array>

namespace sonogate::ngx_module {

namespace {

enum class Name : uintptr_t {
    request_id,
    trace_id,
    endpoint,
    error,
    bytes,
    filename,
    receive_time,
    queue_time,
    decode_time,
    compute_time,
    search_time,
    format,
    duration,
    sample_rate,
    channels,
    track_id,
    rate_status,
    cache,
    identity,
    authenticated,
    rate_class,
};

struct Variable {
    std::string_view name;
    Name which;
};

constexpr auto variables = std::to_array<Variable>({
    {"sonogate_request_id", Name::request_id},
    {"sonogate_trace_id", Name::trace_id},
    {"sonogate_endpoint", Name::endpoint},
    {"sonogate_error", Name::error},
    {"sonogate_bytes", Name::bytes},
    {"sonogate_filename", Name::filename},
    {"sonogate_receive_time", Name::receive_time},
    {"sonogate_queue_time", Name::queue_time},
    {"sonogate_decode_time", Name::decode_time},
    {"sonogate_compute_time", Name::compute_time},
    {"sonogate_search_time", Name::search_time},
    {"sonogate_format", Name::format},
    {"sonogate_duration", Name::duration},
    {"sonogate_sample_rate", Name::sample_rate},
    {"sonogate_channels", Name::channels},
    {"sonogate_track_id", Name::track_id},
    {"sonogate_cache", Name::cache},
    {"sonogate_identity", Name::identity},
    {"sonogate_authenticated", Name::authenticated},
    {"sonogate_rate_class", Name::rate_class},
    {"sonogate_rate_status", Name::rate_status},
});

// Seconds with milliseconds, as nginx writes its own times.
void seconds(TextBuffer& out, std::uint64_t microseconds) noexcept {
    out.milliseconds(microseconds / 1000);
}

void write_audio(const shm::AudioFacts& audio, Name which, TextBuffer& out) noexcept {
    if (audio.format == shm::AudioFormat::unknown) {
        return;
    }
    if (which == Name::format) {
        out.text(shm::name_of(audio.format));
        return;
    }
    if (audio.sample_rate_hz == 0) {
        return;  // recognised, and not let in or not decoded
    }
    switch (which) {
        case Name::duration:
            seconds(out, audio.duration_ms * 1000);
            return;
        case Name::sample_rate:
            out.number(audio.sample_rate_hz);
            return;
        default:
            out.number(audio.channels);
    }
}

void write_time(const Request& request, Name which, TextBuffer& out) noexcept {
    if (which == Name::receive_time) {
        if (request.upload.received_bytes() > 0) {
            seconds(out, request.upload.last_byte_us() - request.upload.first_byte_us());
        }
        return;
    }
    if (!request.answered_by_job) {
        return;
    }
    const shm::StageTimes& times = request.times;
    switch (which) {
        case Name::queue_time:
            return seconds(out, times.queue_us);
        case Name::decode_time:
            return seconds(out, times.decode_us);
        case Name::compute_time:
            return seconds(out, times.compute_us);
        default:
            return seconds(out, times.search_us);
    }
}

void write(const Request& request, Name which, TextBuffer& out) noexcept {
    switch (which) {
        case Name::request_id:
            out.text(view(request.request_id));
            return;
        case Name::trace_id:
            out.text(view(request.trace_id));
            return;
        case Name::endpoint:
            out.text(name_of(request.route.counted));
            return;
        case Name::error:
            out.text(request.failure.code == Errc::ok ? std::string_view{}
                                                      : problem_of(request.failure.code).type);
            return;
        case Name::bytes:
            out.number(request.upload.received_bytes());
            return;
        case Name::filename:
            out.text(request.upload.filename());
            return;
        case Name::receive_time:
        case Name::queue_time:
        case Name::decode_time:
        case Name::compute_time:
        case Name::search_time:
            write_time(request, which, out);
            return;
        case Name::track_id:
            out.text(view(request.track_id));
            return;
        case Name::rate_status:
            out.text(name_of(request.rates.status()));
            return;
        case Name::cache:
            if (request.answered_by_job && request.route.takes_audio) {
                out.text(request.from_cache ? "hit" : "miss");
            }
            return;
        default:
            write_audio(request.audio, which, out);
    }
}

void set_value(ngx_http_variable_value_t& value, const ngx_str_t& text) noexcept {
    value.not_found = 0;
    value.data = text.data;
    value.len = static_cast<unsigned>(text.len) & 0x0fffffffU;
}

// Who asks: known in every location, without a job and without a copy.
void get_caller(ngx_http_request_t* r, Name which, ngx_http_variable_value_t& value) noexcept {
    const Key* key = key_of(r);
    if (which == Name::authenticated) {
        set_value(value, borrowed(key != nullptr ? "1" : "0"));
    } else if (which == Name::identity) {
        set_value(value, key != nullptr ? key->name : r->connection->addr_text);
    } else if (key != nullptr && key->rate_class.len != 0) {
        set_value(value, key->rate_class);
    }
}

ngx_int_t get(ngx_http_request_t* r, ngx_http_variable_value_t* value, uintptr_t data) {
    value->valid = 1;
    value->no_cacheable = 1;
    value->not_found = 1;
    const auto which = static_cast<Name>(data);
    if (which >= Name::identity) {
        get_caller(r, which, *value);
        return NGX_OK;
    }
    const bool ours = loc_conf_of(r)->pool != nullptr;
    const Request* request = ours ? Request::of(r) : Request::find(r);
    if (request == nullptr) {
        return NGX_OK;
    }
    std::array<char, Filename::max_bytes + 1> room{};
    TextBuffer text(room);
    write(*request, which, text);
    if (text.size() == 0) {
        return NGX_OK;
    }
    const ngx_str_t copy = copied(r->pool, text.view());
    if (copy.data == nullptr) {
        return NGX_ERROR;
    }
    set_value(*value, copy);
    return NGX_OK;
}

}  // namespace

ngx_int_t add_variables(ngx_conf_t* cf) {
    for (const Variable& one : variables) {
        ngx_str_t name = borrowed(one.name);
        ngx_http_variable_t* variable = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
        if (variable == nullptr) {
            return NGX_ERROR;
        }
        variable->get_handler = get;
        variable->data = static_cast<uintptr_t>(one.which);
    }
    return NGX_OK;
}

}  // namespace sonogate::ngx_module
