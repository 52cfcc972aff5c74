// A request id as the log shows it.
//
// For: log lines. Not for: anything else a client sent: the log never has that.
#pragma once

#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <string>

#include "shm/layout.hpp"

namespace sonogate::broker {

// "ID", or "ID of trace HEX" where its client sent a traceparent; "-" where the request has no id.
// Bytes that could forge a log line are replaced.
inline std::string request_name(const shm::Submission& submission) {
    const std::size_t size = std::min<std::size_t>(submission.request_id.size, shm::text_bytes);
    std::string out(submission.request_id.data.data(), size);
    std::replace_if(
        out.begin(), out.end(), [](char c) { return c <= 0x20 || c >= 0x7f; }, '?');
    if (out.empty()) {
        out = "-";
    }
    const auto& trace = submission.trace_id;
    if (std::any_of(trace.begin(), trace.end(), [](std::uint8_t byte) { return byte != 0; })) {
        out += fmt::format(" of trace {:02x}", fmt::join(trace, ""));
    }
    return out;
}

}  // namespace sonogate::broker
