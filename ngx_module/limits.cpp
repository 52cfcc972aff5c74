#include "ngx_module/limits.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

// What a telephone modem would do, and long enough to begin.
constexpr off_t default_min_receive_rate = 500;
constexpr ngx_msec_t default_rate_after_ms = 20'000;
constexpr ngx_uint_t default_max_channels = 64;
constexpr off_t default_max_decoded_bytes = off_t{16} << 30;  // twelve hours of stereo at 48 kHz

ngx_str_t word(ngx_conf_t* cf, ngx_uint_t i) noexcept {
    return static_cast<ngx_str_t*>(cf->args->elts)[i];
}

// The set that a name of shm::name_of() stands for, or a container with all that it may hold
// ("ogg"). 0: no format has that name.
std::uint64_t formats_of(std::string_view name) noexcept {
    std::uint64_t set = 0;
    for (std::size_t i = 1; i < static_cast<std::size_t>(shm::AudioFormat::count_); ++i) {
        const std::string_view known = shm::name_of(static_cast<shm::AudioFormat>(i));
        if (known == name || known.substr(0, known.find('-')) == name) {
            set |= std::uint64_t{1} << i;
        }
    }
    return set;
}
static_assert(static_cast<std::size_t>(shm::AudioFormat::count_) <= 64, "a set is one word");

template <typename T>
T& field(ngx_command_t* command, void* conf) noexcept {
    return *reinterpret_cast<T*>(static_cast<char*>(conf) + command->offset);
}

}  // namespace

void unset(Limits& limits) noexcept {
    limits = {.max_audio_ms = NGX_CONF_UNSET_MSEC,
              .min_audio_ms = NGX_CONF_UNSET_MSEC,
              .max_decoded_bytes = NGX_CONF_UNSET,
              .max_channels = NGX_CONF_UNSET_UINT,
              .formats = NGX_CONF_UNSET_UINT,
              .body_timeout_ms = NGX_CONF_UNSET_MSEC,
              .min_receive_rate = NGX_CONF_UNSET,
              .rate_after_ms = NGX_CONF_UNSET_MSEC};
}

const char* merge(const Limits& from, Limits& limits) noexcept {
    ngx_conf_merge_msec_value(limits.max_audio_ms, from.max_audio_ms, 0);
    ngx_conf_merge_msec_value(limits.min_audio_ms, from.min_audio_ms, 0);
    ngx_conf_merge_value(limits.max_decoded_bytes, from.max_decoded_bytes,
                         default_max_decoded_bytes);
    ngx_conf_merge_uint_value(limits.max_channels, from.max_channels, default_max_channels);
    ngx_conf_merge_uint_value(limits.formats, from.formats, 0);
    ngx_conf_merge_msec_value(limits.body_timeout_ms, from.body_timeout_ms, 0);
    ngx_conf_merge_value(limits.min_receive_rate, from.min_receive_rate, default_min_receive_rate);
    ngx_conf_merge_msec_value(limits.rate_after_ms, from.rate_after_ms, default_rate_after_ms);
    if (limits.max_audio_ms != 0 && limits.min_audio_ms > limits.max_audio_ms) {
        return "has a sonogate_min_audio above its sonogate_max_audio";
    }
    return nullptr;
}

shm::AudioLimits audio_limits_of(const Limits& limits) noexcept {
    return {.max_audio_ms = limits.max_audio_ms,
            .min_audio_ms = limits.min_audio_ms,
            .max_decoded_bytes = static_cast<std::uint64_t>(limits.max_decoded_bytes),
            .formats = limits.formats,
            .max_channels = static_cast<std::uint32_t>(limits.max_channels)};
}

ngx_msec_t patience_of(const Limits& limits, std::uint64_t received_bytes) noexcept {
    if (limits.min_receive_rate == 0) {
        return limits.body_timeout_ms;
    }
    const auto by_rate = static_cast<ngx_msec_t>(
        received_bytes * 1000 / static_cast<std::uint64_t>(limits.min_receive_rate));
    const ngx_msec_t patience_ms = limits.rate_after_ms + by_rate;
    return limits.body_timeout_ms == 0 ? patience_ms
                                       : std::min(limits.body_timeout_ms, patience_ms);
}

char* set_time_limit(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept {
    auto& limit_ms = field<ngx_msec_t>(command, conf);
    if (limit_ms != NGX_CONF_UNSET_MSEC) {
        return const_cast<char*>("is duplicate");
    }
    ngx_str_t text = word(cf, 1);
    if (view(text) == "off") {
        limit_ms = 0;
        return NGX_CONF_OK;
    }
    const ngx_int_t ms = ngx_parse_time(&text, 0);
    if (ms <= 0) {
        return const_cast<char*>("must be off or a time above zero");
    }
    limit_ms = static_cast<ngx_msec_t>(ms);
    return NGX_CONF_OK;
}

char* set_size_limit(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept {
    auto& limit = field<off_t>(command, conf);
    if (limit != NGX_CONF_UNSET) {
        return const_cast<char*>("is duplicate");
    }
    ngx_str_t text = word(cf, 1);
    if (view(text) == "off") {
        limit = 0;
        return NGX_CONF_OK;
    }
    limit = ngx_parse_offset(&text);
    if (limit <= 0) {
        return const_cast<char*>("must be off or a size above zero");
    }
    return NGX_CONF_OK;
}

char* set_channel_limit(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept {
    auto& most = field<ngx_uint_t>(command, conf);
    if (most != NGX_CONF_UNSET_UINT) {
        return const_cast<char*>("is duplicate");
    }
    const ngx_str_t text = word(cf, 1);
    const ngx_int_t number = ngx_atoi(text.data, text.len);
    if (view(text) != "off" && (number < 1 || number > UINT16_MAX)) {
        return const_cast<char*>("must be off or a number from 1 to 65535");
    }
    most = number > 0 ? static_cast<ngx_uint_t>(number) : 0;
    return NGX_CONF_OK;
}

char* set_receive_rate(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept {
    auto& limits = field<Limits>(command, conf);
    if (limits.min_receive_rate != NGX_CONF_UNSET) {
        return const_cast<char*>("is duplicate");
    }
    ngx_str_t rate = word(cf, 1);
    limits.rate_after_ms = default_rate_after_ms;
    if (view(rate) == "off" && cf->args->nelts == 2) {
        limits.min_receive_rate = 0;
        return NGX_CONF_OK;
    }
    limits.min_receive_rate = ngx_parse_offset(&rate);
    if (limits.min_receive_rate <= 0) {
        return const_cast<char*>("must be off or a number of bytes a second above zero");
    }
    if (cf->args->nelts == 3) {
        constexpr std::string_view name = "after=";
        ngx_str_t after = word(cf, 2);
        if (!view(after).starts_with(name)) {
            return const_cast<char*>("knows only after=TIME behind the rate");
        }
        after.data += name.size();
        after.len -= name.size();
        const ngx_int_t ms = ngx_parse_time(&after, 0);
        if (ms < 0) {
            return const_cast<char*>("has an after= that is no time");
        }
        limits.rate_after_ms = static_cast<ngx_msec_t>(ms);
    }
    return NGX_CONF_OK;
}

char* set_formats(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept {
    auto& formats = field<ngx_uint_t>(command, conf);
    if (formats != NGX_CONF_UNSET_UINT) {
        return const_cast<char*>("is duplicate");
    }
    formats = 0;
    if (cf->args->nelts == 2 && view(word(cf, 1)) == "all") {
        return NGX_CONF_OK;
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; ++i) {
        const ngx_str_t name = word(cf, i);
        const std::uint64_t named = formats_of(view(name));
        if (named == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "sonogate knows no audio format \"%V\"",
                               &name);
            return static_cast<char*>(NGX_CONF_ERROR);
        }
        formats |= named;
    }
    return NGX_CONF_OK;
}

}  // namespace sonogate::ngx_module
