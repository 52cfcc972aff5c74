#include "enrol/progress.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace sonogate::enrol {
namespace {

constexpr std::size_t bar_width = 24;

std::string clock_of(double seconds) {
    const auto whole = static_cast<std::uint64_t>(std::min(seconds, 359'999.0) + 0.5);
    return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                         : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

std::string progress_line(const Figures& now) {
    const double share =
        now.bytes == 0 ? 1 : static_cast<double>(now.done_bytes) / static_cast<double>(now.bytes);
    const auto filled = static_cast<std::size_t>(share * bar_width);
    std::string line =
        fmt::format("[{}{}] {}/{} {:.0f} %", std::string(filled, '='),
                    std::string(bar_width - filled, ' '), now.done(), now.files, share * 100);
    if (now.elapsed_s > 0 && now.enrolled > 0) {
        line += fmt::format(", {:.1f} tracks/s, {:.0f} x real time",
                            static_cast<double>(now.enrolled) / now.elapsed_s,
                            now.audio_s / now.elapsed_s);
    }
    if (now.sent_bytes > 0) {
        line +=
            fmt::format(", {} left", clock_of(static_cast<double>(now.bytes - now.done_bytes) *
                                              now.elapsed_s / static_cast<double>(now.sent_bytes)));
    }
    if (now.failed > 0) {
        line += fmt::format(", {} failed", now.failed);
    }
    return line;
}

}  // namespace sonogate::enrol
