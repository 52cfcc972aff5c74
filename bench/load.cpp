// An HTTP/1.1 load client: N keep-alive connections, each sending the same POST over and over.
//
//   bench_load PORT TARGET BODY_FILE CONNECTIONS SECONDS
//
// After SECONDS no request begins, and those on their way are waited for, so that the server is
// idle when this ends. One thread, epoll, loopback. Prints one JSON object: requests, errors
// (anything but 200, and lost connections), seconds, and the latency of whole requests. For:
// bench/transport.py. Not for: measuring servers that answer without Content-Length.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"

namespace {

using sonogate::now_ns;
using sonogate::UniqueFd;

constexpr std::uint64_t patience_ns = 60'000'000'000U;

struct Load {
    std::uint16_t port = 0;
    std::string request;  // head and body
    std::uint64_t end_ns = 0;
    std::uint64_t requests = 0;
    std::uint64_t errors = 0;
    std::vector<std::uint32_t> latencies_us;
};

std::string file_content(const char* path) {
    std::string out;
    FILE* file = std::fopen(path, "rb");
    if (file == nullptr) {
        std::perror(path);
        std::exit(2);
    }
    std::array<char, 65536> part;
    for (std::size_t n = 0; (n = std::fread(part.data(), 1, part.size(), file)) > 0;) {
        out.append(part.data(), n);
    }
    std::fclose(file);
    return out;
}

class Connection {
  public:
    bool open(std::uint16_t port, int epoll) {
        fd_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int on = 1;
        ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 &&
            errno != EINPROGRESS) {
            return false;
        }
        epoll_event event{};
        event.events = EPOLLIN | EPOLLOUT | EPOLLET;
        event.data.ptr = this;
        return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd_.get(), &event) == 0;
    }

    void begin() {
        sent_ = 0;
        head_.clear();
        body_left_ = 0;
        in_body_ = false;
        began_ns_ = now_ns();
    }

    // Moves on as far as the socket lets it. False where the connection is lost.
    bool step(Load& load) {
        for (;;) {
            if (sent_ < load.request.size() && !send_some(load)) {
                return false;
            }
            bool answered = false;
            if (!receive_some(load, answered)) {
                return false;
            }
            if (!answered) {
                return true;
            }
            if (now_ns() >= load.end_ns) {
                idle_ = true;
                return true;
            }
            begin();
        }
    }

    bool idle() const { return idle_; }

  private:
    bool send_some(const Load& load) {
        while (sent_ < load.request.size()) {
            const ssize_t n = ::send(fd_.get(), load.request.data() + sent_,
                                     load.request.size() - sent_, MSG_NOSIGNAL);
            if (n < 0) {
                return errno == EAGAIN || errno == ENOTCONN;
            }
            sent_ += static_cast<std::size_t>(n);
        }
        return true;
    }

    bool receive_some(Load& load, bool& answered) {
        std::array<char, 65536> part;
        for (;;) {
            const ssize_t n = ::recv(fd_.get(), part.data(), part.size(), 0);
            if (n < 0) {
                return errno == EAGAIN || errno == ENOTCONN;
            }
            if (n == 0) {
                return false;
            }
            if (take(std::string_view(part.data(), static_cast<std::size_t>(n)), load)) {
                answered = true;
                return true;
            }
        }
    }

    // True where the answer is whole.
    bool take(std::string_view part, Load& load) {
        if (!in_body_) {
            head_.append(part);
            const std::size_t end = head_.find("\r\n\r\n");
            if (end == std::string::npos) {
                return false;
            }
            in_body_ = true;
            body_left_ = content_length(std::string_view(head_).substr(0, end + 2));
            part = std::string_view(head_).substr(end + 4);
        }
        body_left_ -= std::min(body_left_, part.size());
        if (body_left_ > 0) {
            return false;
        }
        ++load.requests;
        load.errors += head_.starts_with("HTTP/1.1 200") ? 0 : 1;
        load.latencies_us.push_back(static_cast<std::uint32_t>((now_ns() - began_ns_) / 1000));
        return true;
    }

    static std::size_t content_length(std::string_view head) {
        constexpr std::string_view name = "\r\ncontent-length: ";
        const auto same = [](char a, char b) { return (a | 0x20) == (b | 0x20); };
        const auto at = std::search(head.begin(), head.end(), name.begin(), name.end(), same);
        std::size_t value = 0;
        if (at != head.end()) {
            const char* first = &*at + name.size();
            std::from_chars(first, head.data() + head.size(), value);
        }
        return value;
    }

    UniqueFd fd_;
    std::size_t sent_ = 0;
    std::string head_;
    std::size_t body_left_ = 0;
    bool in_body_ = false;
    bool idle_ = false;
    std::uint64_t began_ns_ = 0;
};

bool run(Load& load, std::size_t count) {
    const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    std::vector<Connection> connections(count);
    for (auto& connection : connections) {
        connection.begin();
        if (!connection.open(load.port, epoll.get())) {
            return false;
        }
    }
    std::array<epoll_event, 64> events;
    std::size_t busy = count;
    while (busy > 0 && now_ns() < load.end_ns + patience_ns) {
        const int n = ::epoll_wait(epoll.get(), events.data(), events.size(), 100);
        for (int i = 0; i < n; ++i) {
            auto* connection =
                static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
            if (connection->idle()) {
                continue;
            }
            if (!connection->step(load)) {
                ++load.errors;
                connection->begin();
                if (!connection->open(load.port, epoll.get())) {
                    return false;
                }
            }
            busy -= connection->idle() ? 1 : 0;
        }
    }
    load.errors += busy;
    return true;
}

double at_quantile(const std::vector<std::uint32_t>& sorted, double quantile) {
    if (sorted.empty()) {
        return 0;
    }
    const auto i = static_cast<std::size_t>(quantile * static_cast<double>(sorted.size() - 1));
    return static_cast<double>(sorted[i]);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) {
        std::fprintf(stderr, "usage: bench_load PORT TARGET BODY_FILE CONNECTIONS SECONDS\n");
        return 2;
    }
    Load load;
    load.port = static_cast<std::uint16_t>(std::atoi(argv[1]));
    const std::string body = file_content(argv[3]);
    load.request = std::string("POST ") + argv[2] +
                   " HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body;
    const std::uint64_t start_ns = now_ns();
    load.end_ns = start_ns + static_cast<std::uint64_t>(std::atof(argv[5]) * 1e9);
    if (!run(load, static_cast<std::size_t>(std::atoi(argv[4])))) {
        std::perror("bench_load");
        return 1;
    }
    const double seconds = static_cast<double>(now_ns() - start_ns) / 1e9;
    std::sort(load.latencies_us.begin(), load.latencies_us.end());
    std::printf(
        "{\"requests\":%llu,\"errors\":%llu,\"seconds\":%.6f,\"p50_us\":%.0f,\"p99_us\":%.0f}\n",
        static_cast<unsigned long long>(load.requests),
        static_cast<unsigned long long>(load.errors), seconds, at_quantile(load.latencies_us, 0.5),
        at_quantile(load.latencies_us, 0.99));
    return 0;
}
