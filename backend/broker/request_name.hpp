// A request id as the log shows it.
//
// For: log lines. Not for: anything else a client sent: the log never has that.
#pragma once

#include <algorithm>
#include <string>

#include "shm/layout.hpp"

namespace sonogate::broker {

// "-" where the request has no id. Bytes that could forge a log line are replaced.
inline std::string request_name(const shm::Submission& submission) {
    const std::size_t size = std::min<std::size_t>(submission.request_id.size, shm::text_bytes);
    std::string out(submission.request_id.data.data(), size);
    std::replace_if(
        out.begin(), out.end(), [](char c) { return c <= 0x20 || c >= 0x7f; }, '?');
    return out.empty() ? "-" : out;
}

}  // namespace sonogate::broker
