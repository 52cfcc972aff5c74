#include "shm/message.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

namespace sonogate::shm {

namespace {

// Room for more descriptors than we accept, so that too many are seen and closed, not silently
// dropped.
constexpr std::size_t control_fds = 8;

// Takes over what arrived; true where all of it was expected.
bool take_fds(msghdr& header, Message& out) noexcept {
    bool expected = (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            expected = false;
            continue;
        }
        const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (out.fd_count < max_message_fds) {
                out.fds[out.fd_count++].reset(fd);
            } else {
                ::close(fd);
                expected = false;
            }
        }
    }
    return expected;
}

}  // namespace

Received receive_message(int socket, Message& out, bool wait) noexcept {
    for (auto& fd : out.fds) {
        fd.reset();
    }
    out.fd_count = 0;
    out.size = 0;
    iovec part{out.data.data(), out.data.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(control_fds * sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    ssize_t n = 0;
    do {
        n = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    } while (n < 0 && errno == EINTR && !wait);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? Received::nothing : Received::closed;
    }
    const bool expected = take_fds(header, out);
    if (n == 0 && out.fd_count == 0) {
        return Received::closed;
    }
    out.size = static_cast<std::size_t>(n);
    return expected ? Received::message : Received::lie;
}

Result<void> send_packet(int socket, Bytes packet, std::span<const int> fds) noexcept {
    iovec part{const_cast<std::byte*>(packet.data()), packet.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(max_message_fds * sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (!fds.empty()) {
        header.msg_control = control.data();
        header.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
    }
    ssize_t n = 0;
    do {
        n = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN ? Failure{.code = Errc::overloaded} : system_failure(errno);
    }
    return {};
}

bool peer_closed(int socket) noexcept {
    char byte = 0;
    const ssize_t n = ::recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    // A peer that died with mail of ours unread is told as ECONNRESET, once, before EOF.
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

}  // namespace sonogate::shm
