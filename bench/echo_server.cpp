// The least that a backend behind proxy_pass can be: reads a request with Content-Length into
// memory, answers with a fixed JSON, keeps the connection. It decodes nothing.
//
//   bench_echo_server SOCKET_PATH|PORT ANSWER_BYTES
//
// For: being what sonogate's transport is compared with, and, on a TCP port of the loopback, what
// the kernel alone takes to bring the same bytes to one process. Not for: anything else.
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace {

using sonogate::UniqueFd;

struct Client {
    UniqueFd fd;
    std::vector<char> buffer = std::vector<char>(64U << 10U);
    std::size_t used = 0;
    std::size_t wanted = 0;  // length of the whole request, 0 = head not complete
};

// The whole length of the request whose head is in the buffer; 0 where the head is not complete.
std::size_t request_length(const Client& client) {
    const std::string_view text(client.buffer.data(), client.used);
    const std::size_t end = text.find("\r\n\r\n");
    if (end == std::string_view::npos) {
        return 0;
    }
    const std::string head(text.substr(0, end + 2));
    const char* length = ::strcasestr(head.c_str(), "\r\ncontent-length:");
    return end + 4 + (length != nullptr ? std::strtoull(length + 17, nullptr, 10) : 0);
}

// False where the client is gone.
bool serve(Client& client, const std::string& answer) {
    for (;;) {
        if (client.used == client.buffer.size()) {
            client.buffer.resize(std::max(client.buffer.size() * 2, client.wanted));
        }
        const ssize_t n = ::recv(client.fd.get(), client.buffer.data() + client.used,
                                 client.buffer.size() - client.used, 0);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN;
        }
        client.used += static_cast<std::size_t>(n);
        if (client.wanted == 0) {
            client.wanted = request_length(client);
            if (client.wanted > client.buffer.size()) {
                client.buffer.resize(client.wanted);
            }
        }
        if (client.wanted != 0 && client.used >= client.wanted) {
            client.used = client.wanted = 0;
            if (::send(client.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL) !=
                static_cast<ssize_t>(answer.size())) {
                return false;
            }
        }
    }
}

int bound(int fd, const sockaddr* address, socklen_t bytes, const char* where) {
    if (fd < 0 || ::bind(fd, address, bytes) != 0 || ::listen(fd, 512) != 0) {
        std::perror(where);
        std::exit(1);
    }
    return fd;
}

int listen_on_path(const char* path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    ::unlink(path);
    ::umask(0);  // nginx's workers are another user
    return bound(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                 reinterpret_cast<const sockaddr*>(&address), sizeof(address), path);
}

int listen_on_port(const char* port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                 reinterpret_cast<const sockaddr*>(&address), sizeof(address), port);
}

int listen_on(const char* where) {
    const std::string_view text(where);
    const bool is_port =
        std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    return is_port ? listen_on_port(where) : listen_on_path(where);
}

void watch(int epoll, int fd, void* what, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = what;
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: bench_echo_server SOCKET_PATH|PORT ANSWER_BYTES\n");
        return 2;
    }
    const std::string body(static_cast<std::size_t>(std::atoi(argv[2])), ' ');
    const std::string answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    const UniqueFd listener(listen_on(argv[1]));
    const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    watch(epoll.get(), listener.get(), nullptr, EPOLLIN);
    std::array<epoll_event, 64> events;
    for (;;) {
        const int n = ::epoll_wait(epoll.get(), events.data(), events.size(), -1);
        for (int i = 0; i < n; ++i) {
            auto* client = static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr);
            if (client == nullptr) {
                auto fresh = std::make_unique<Client>();
                fresh->fd.reset(
                    ::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
                if (fresh->fd) {
                    const int fd = fresh->fd.get();
                    watch(epoll.get(), fd, fresh.release(), EPOLLIN | EPOLLET);
                }
            } else if (!serve(*client, answer)) {
                delete client;  // owned by epoll's pointer since accept
            }
        }
    }
}
