// What a location bounds of an upload beyond its size: length and format of the audio, how slowly
// it may come.
//
// For: the directives sonogate_max_audio, …, and what of them travels with a job. Not for:
// sonogate_max_body (conf.cpp merges it, gate.cpp and body_limit.cpp refuse by it).
#pragma once

#include "ngx_module/ngx.hpp"
#include "shm/layout.hpp"

namespace sonogate::ngx_module {

// 0 = no bound, everywhere.
struct Limits {
    ngx_msec_t max_audio_ms;
    ngx_msec_t min_audio_ms;
    off_t max_decoded_bytes;
    ngx_uint_t max_channels;
    ngx_uint_t formats;  // shm::AudioLimits::formats
    ngx_msec_t body_timeout_ms;
    off_t min_receive_rate;    // bytes a second …
    ngx_msec_t rate_after_ms;  // … of which a sender is free so long
};

void unset(Limits& limits) noexcept;
// Null, or why the merged settings contradict each other.
const char* merge(const Limits& from, Limits& limits) noexcept;

shm::AudioLimits audio_limits_of(const Limits& limits) noexcept;

// How long a body may have taken of which `received_bytes` are here; 0 = for ever.
ngx_msec_t patience_of(const Limits& limits, std::uint64_t received_bytes) noexcept;

// `off` or a time, `off` or a size; into the field at the command's offset.
char* set_time_limit(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_size_limit(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
// `off` or a number.
char* set_channel_limit(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
// `off`, or a size and `after=` a time.
char* set_receive_rate(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
// Names of formats, or `all`.
char* set_formats(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

}  // namespace sonogate::ngx_module
