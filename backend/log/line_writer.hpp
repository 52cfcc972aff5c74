// Lines to a descriptor that may be full, without ever waiting for whoever reads them.
//
// For: log.cpp. The broker is one thread: a log reader that was stopped, or a journal that is
// stuck, must cost it lines and nothing else. What cannot be written now is dropped, counted, and
// told with the next line that can. Not for: what a line says.
//
// A thread with a queue (spdlog's async_logger) was the other way: each process that is forked
// would need one of its own, started after the fork, and what it holds is lost where a process is
// killed. A write that does not wait needs neither. O_NONBLOCK on the descriptor that we were given
// would bind everybody who has it, a terminal's shell too. So:
//   - a pipe or a terminal is opened once more through /proc: the same pipe, with flags of our own;
//   - a socket, which cannot be, has MSG_DONTWAIT (a journal is one);
//   - a file has no reader to wait for;
//   - where the pipe is another user's or /proc is not there, poll() is asked before each write.
//     Another process may take the room in between: then that one line waits.
#pragma once

#include <climits>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace sonogate::log {

class LineWriter {
  public:
    // What a pipe takes whole or not at all.
    static constexpr std::size_t most_line_bytes = PIPE_BUF;

    // `fd` is borrowed: where it can be opened once more, the new one takes its place, for this
    // process and those that it forks.
    explicit LineWriter(int fd) noexcept;

    // `tell` makes the line that says how many were dropped, with its end; it goes first.
    void write(std::string_view line, const std::function<std::string(std::uint64_t)>& tell);

    // Lines that were dropped so far. Thread: that of write(), or with its lock.
    std::uint64_t dropped() const noexcept { return dropped_; }

  private:
    enum class Way : std::uint8_t { write, send, poll };

    static Way way_of(int fd) noexcept;
    bool put(std::string_view line) noexcept;

    int fd_;
    Way way_;
    std::uint64_t dropped_ = 0;
    std::uint64_t told_ = 0;
};

}  // namespace sonogate::log
