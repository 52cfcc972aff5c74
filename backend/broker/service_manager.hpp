// What the daemon tells who runs it: sd_notify(3)'s protocol, where NOTIFY_SOCKET is set; else
// nothing.
//
// For: the broker. READY=1 once it serves, WATCHDOG=1 from its loop and from nowhere else, so that
// a broker that stands still is missed, STOPPING=1 when it drains. Not for: the listening socket
// (listener.hpp). One thread.
//
// Not by libsystemd: its sd_notify() waits where the service manager's queue is full, ten messages
// long, and the loop must not stand still for whoever looks whether it does.
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"

namespace sonogate::broker {

class ServiceManager {
  public:
    ServiceManager();  // reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID

    void ready() { tell_surely("READY=1"); }
    void status(const std::string& text);
    // It will take `timeout_ns` at the most: asks for the time to do so.
    void stopping(std::uint64_t timeout_ns);
    // The loop turns. Told as often as the service manager wants to know, WatchdogSec.
    void beat(std::uint64_t now_ns);

  private:
    bool tell(const std::string& text);
    void tell_surely(const std::string& text);

    UniqueFd socket_;
    std::uint64_t beat_each_ns_ = 0;  // 0 = nobody wants to know
    std::uint64_t next_beat_ns_ = 0;
    std::string untold_;  // lines that found the queue full; tried again with each beat
    std::string status_;
};

}  // namespace sonogate::broker
