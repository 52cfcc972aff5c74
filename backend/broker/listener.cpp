#include "broker/listener.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace sonogate::broker {

namespace {

constexpr int backlog = 128;
constexpr int passed_fd = 3;

bool is_set_to(const char* name, long number) {
    // Flawfinder: ignore (systemd's protocol; compared with a number only)
    const char* const value = std::getenv(name);
    return value != nullptr && std::to_string(number) == value;
}

bool was_passed() {
    return is_set_to("LISTEN_PID", ::getpid()) && is_set_to("LISTEN_FDS", 1);
}

bool is_seqpacket_listener(int fd) {
    int type = 0;
    int listening = 0;
    socklen_t size = sizeof(type);
    return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET &&
           ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening == 1;
}

// False where it is too long, or empty.
bool fill(sockaddr_un& address, const std::string& path) noexcept {
    address.sun_family = AF_UNIX;
    const bool fits = !path.empty() && path.size() < sizeof(address.sun_path);
    if (fits) {
        std::memcpy(address.sun_path, path.data(), path.size());
    }
    return fits;
}

bool somebody_answers(const sockaddr_un& address) {
    const UniqueFd probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) ==
               0 ||
           errno != ECONNREFUSED;
}

bool is_abandoned(const sockaddr_un& address) {
    struct stat status {};
    return ::lstat(address.sun_path, &status) == 0 && S_ISSOCK(status.st_mode) &&
           !somebody_answers(address);
}

Result<void> bind_to(int socket, const sockaddr_un& address) {
    const auto* const name = reinterpret_cast<const sockaddr*>(&address);
    if (::bind(socket, name, sizeof(address)) == 0) {
        return {};
    }
    if (errno != EADDRINUSE) {
        return system_failure(errno);
    }
    if (!is_abandoned(address) || ::unlink(address.sun_path) != 0 ||
        ::bind(socket, name, sizeof(address)) != 0) {
        return system_failure(EADDRINUSE);
    }
    return {};
}

}  // namespace

Result<Listener> Listener::open(const std::string& path) {
    Listener out;
    if (was_passed()) {
        if (!is_seqpacket_listener(passed_fd)) {
            return system_failure(EPROTOTYPE);
        }
        out.socket_.reset(passed_fd);
        ::fcntl(passed_fd, F_SETFD, FD_CLOEXEC);
        ::fcntl(passed_fd, F_SETFL, ::fcntl(passed_fd, F_GETFL) | O_NONBLOCK);
        out.name_ = "a socket that the service manager passed";
        return out;
    }
    sockaddr_un address{};
    if (!fill(address, path)) {
        return system_failure(path.empty() ? EDESTADDRREQ : ENAMETOOLONG);
    }
    out.socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!out.socket_) {
        return system_failure(errno);
    }
    if (const auto bound = bind_to(out.socket_.get(), address); !bound) {
        return bound.failure();
    }
    // Flawfinder: ignore (only the operator may write to that folder)
    if (::chmod(path.c_str(), 0666) != 0 || ::listen(out.socket_.get(), backlog) != 0) {
        return system_failure(errno);
    }
    out.name_ = path;
    return out;
}

void Listener::remove_abandoned(const std::string& path) noexcept {
    sockaddr_un address{};
    if (fill(address, path) && is_abandoned(address)) {
        ::unlink(address.sun_path);
    }
}

}  // namespace sonogate::broker
