// The least that a backend behind proxy_pass can be: reads a request with Content-Length into
// memory, answers with a fixed JSON, keeps the connection. It decodes nothing.
//
//   bench_echo_server SOCKET_PATH ANSWER_BYTES
//
// For: being what sonogate's transport is compared with. Not for: anything else.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
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

int listen_on(const char* path) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    ::unlink(path);
    ::umask(0);  // nginx's workers are another user
    if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        ::listen(fd, 512) != 0) {
        std::perror(path);
        std::exit(1);
    }
    return fd;
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
        std::fprintf(stderr, "usage: bench_echo_server SOCKET_PATH ANSWER_BYTES\n");
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
