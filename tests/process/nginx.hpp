// An nginx with our module, for tests that are its daemon themselves.
//
// For: broker_lie_test. Not for: tests with a daemon (tests/nginx). SONOGATE_MODULE is the module's
// path.
#pragma once

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

#include "base/unique_fd.hpp"

namespace sonogate::tests {

// nginx as one process, so that its end is ours to see.
class Nginx {
  public:
    explicit Nginx(const std::string& folder) : folder_(folder), port_(free_port()) {
        std::ofstream(folder + "/nginx.conf")
            << "load_module " SONOGATE_MODULE "; daemon off; master_process off; pid nginx.pid;\n"
            << "error_log error.log info; events {}\nhttp { sonogate_pool main { socket s; }\n"
            << "log_format all '$status $sonogate_format $sonogate_duration $sonogate_sample_rate "
               "$sonogate_channels $sonogate_track_id $sonogate_queue_time $sonogate_error';\n"
            << "access_log access.log all; client_body_temp_path b; proxy_temp_path b;\n"
            << "fastcgi_temp_path b; uwsgi_temp_path b; scgi_temp_path b;\n"
            << "server { listen 127.0.0.1:" << port_
            << "; location / { sonogate_pass main; sonogate_catalog write open; } } }\n";
        pid_ = ::fork();
        if (pid_ == 0) {
            const std::string conf = folder + "/nginx.conf";
            ::execlp("nginx", "nginx", "-p", folder.c_str(), "-e", "error.log", "-c", conf.c_str(),
                     nullptr);
            ::execl("/usr/sbin/nginx", "nginx", "-p", folder.c_str(), "-e", "error.log", "-c",
                    conf.c_str(), nullptr);
            ::_exit(127);
        }
    }
    ~Nginx() {
        ::kill(pid_, SIGTERM);
        ::waitpid(pid_, nullptr, 0);
    }
    Nginx(const Nginx&) = delete;
    Nginx& operator=(const Nginx&) = delete;

    bool runs() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }

    std::string log() const {
        std::ifstream file(folder_ + "/error.log");
        return {std::istreambuf_iterator<char>(file), {}};
    }

    // The whole answer to a GET; empty where there was none within half a minute.
    std::string get(const std::string& path) const {
        UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const timeval patience{30, 0};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        const sockaddr_in address = local(port_);
        for (int i = 0;
             i < 500 && ::connect(socket.get(), as_address(address), sizeof(address)) != 0; ++i) {
            ::usleep(10'000);  // it is being started
        }
        const std::string request =
            "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        (void)::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL);
        std::string out;
        char piece[4096];
        for (ssize_t n = 0; (n = ::recv(socket.get(), piece, sizeof(piece), 0)) > 0;) {
            out.append(piece, static_cast<std::size_t>(n));
        }
        return out;
    }

  private:
    static sockaddr_in local(std::uint16_t port) {
        sockaddr_in out{};
        out.sin_family = AF_INET;
        out.sin_port = htons(port);
        out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return out;
    }
    static const sockaddr* as_address(const sockaddr_in& address) {
        return reinterpret_cast<const sockaddr*>(&address);
    }
    static std::uint16_t free_port() {
        const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address = local(0);
        socklen_t size = sizeof(address);
        ::bind(socket.get(), as_address(address), size);
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
        return ntohs(address.sin_port);
    }

    std::string folder_;
    std::uint16_t port_;
    pid_t pid_ = -1;
};

}  // namespace sonogate::tests
