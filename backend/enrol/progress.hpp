// How far an enrolment is, in one line: a bar, counts, rate, time left.
//
// For: enrol/run.cpp. Not for: the report at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace sonogate::enrol {

struct Figures {
    std::size_t files = 0;  // in all
    std::size_t enrolled = 0;
    std::size_t there = 0;  // already
    std::size_t failed = 0;
    std::uint64_t bytes = 0;       // of all files
    std::uint64_t done_bytes = 0;  // of those that are done with, however
    std::uint64_t sent_bytes = 0;  // of those that were sent
    double audio_s = 0;            // enrolled now
    double elapsed_s = 0;

    std::size_t done() const noexcept { return enrolled + there + failed; }
};

// Time left is what is left of the bytes at the rate at which bytes were sent: what was there
// already took no time.
std::string progress_line(const Figures& now);

}  // namespace sonogate::enrol
