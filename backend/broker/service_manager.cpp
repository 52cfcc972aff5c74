#include "broker/service_manager.hpp"

#include <spdlog/fmt/fmt.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace sonogate::broker {

namespace {

constexpr std::uint64_t slack_us = 5'000'000;  // for children and the librarian's last commit

std::string_view value_of(const char* name) {
    // Flawfinder: ignore (the service manager's protocol; bounded and checked below)
    const char* const value = std::getenv(name);
    return value == nullptr ? std::string_view() : std::string_view(value);
}

// A socket that is connected to the service manager's; none where there is none, or it is no unix
// socket.
UniqueFd connected_to(std::string_view path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() < 2 || path.size() >= sizeof(address.sun_path) ||
        (path[0] != '/' && path[0] != '@')) {
        return {};
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path[0] == '@') {
        address.sun_path[0] = '\0';  // no file: the abstract namespace
    }
    UniqueFd out(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    if (!out || ::connect(out.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
        return {};
    }
    return out;
}

}  // namespace

ServiceManager::ServiceManager() : socket_(connected_to(value_of("NOTIFY_SOCKET"))) {
    const std::string_view pid = value_of("WATCHDOG_PID");
    const std::string patience_us(value_of("WATCHDOG_USEC"));
    if (pid.empty() || pid == std::to_string(::getpid())) {
        beat_each_ns_ = std::strtoull(patience_us.c_str(), nullptr, 10) * 1000U / 4;
    }
}

void ServiceManager::status(const std::string& text) {
    if (text != status_ && tell("STATUS=" + text)) {
        status_ = text;
    }
}

void ServiceManager::stopping(std::uint64_t timeout_ns) {
    tell_surely(fmt::format("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", timeout_ns / 1000U + slack_us));
}

void ServiceManager::beat(std::uint64_t now_ns) {
    if (!untold_.empty() && tell(untold_)) {
        untold_.clear();
    }
    if (beat_each_ns_ != 0 && now_ns >= next_beat_ns_) {
        next_beat_ns_ = now_ns + beat_each_ns_;
        (void)tell("WATCHDOG=1");
    }
}

// False where it has to be told again. Where nobody is, nobody has to be told.
bool ServiceManager::tell(const std::string& text) {
    return !socket_ || ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) >= 0;
}

void ServiceManager::tell_surely(const std::string& text) {
    if (!tell(text)) {
        untold_ += text + "\n";
    }
}

}  // namespace sonogate::broker
