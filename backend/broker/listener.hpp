// The daemon's listening socket: passed by a service manager, or bound here.
//
// For: main. Not for: accepting (broker.cpp).
#pragma once

#include <string>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sonogate::broker {

class Listener {
  public:
    // Descriptor 3 where LISTEN_PID and LISTEN_FDS say that it is for us (sd_listen_fds(3)), else
    // PATH, mode 0666: who may connect is decided by SO_PEERCRED, and by the folder. A socket file
    // that nobody answers on is replaced. Errors: internal with errno; EADDRINUSE where somebody
    // answers.
    static Result<Listener> open(const std::string& path);

    // Removes the socket file of a broker that listens no more, unless somebody answers there, who
    // passed the socket. For the zygote: the broker's filter lets it remove nothing.
    static void remove_abandoned(const std::string& path) noexcept;

    UniqueFd take_socket() noexcept { return std::move(socket_); }
    const std::string& name() const noexcept { return name_; }

  private:
    Listener() = default;

    UniqueFd socket_;
    std::string name_;
};

}  // namespace sonogate::broker
