#include "log/line_writer.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sonogate::log {

LineWriter::LineWriter(int fd) noexcept : fd_(fd), way_(way_of(fd)) {}

LineWriter::Way LineWriter::way_of(int fd) noexcept {
    struct stat what {};
    if (::fstat(fd, &what) != 0 || S_ISREG(what.st_mode)) {
        return Way::write;
    }
    if (S_ISSOCK(what.st_mode)) {
        return Way::send;
    }
    const std::string name = "/proc/self/fd/" + std::to_string(fd);
    const int own = ::open(name.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0) {
        return Way::poll;
    }
    const bool taken = ::dup2(own, fd) == fd;
    ::close(own);
    return taken ? Way::write : Way::poll;
}

bool LineWriter::put(std::string_view line) noexcept {
    if (way_ == Way::poll) {
        pollfd room{fd_, POLLOUT, 0};
        if (::poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0) {
            return false;
        }
    }
    const ssize_t put = way_ == Way::send
                            ? ::send(fd_, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                            : ::write(fd_, line.data(), line.size());
    return put == static_cast<ssize_t>(line.size());
}

void LineWriter::write(std::string_view line,
                       const std::function<std::string(std::uint64_t)>& tell) {
    if (told_ != dropped_) {
        const std::uint64_t now = dropped_;
        if (!put(tell(now - told_))) {
            ++dropped_;
            return;
        }
        told_ = now;
    }
    dropped_ += put(line) ? 0U : 1U;
}

}  // namespace sonogate::log
