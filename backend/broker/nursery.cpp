#include "broker/nursery.hpp"

#include <signal.h>

#include <utility>

#include "shm/message.hpp"

namespace sonogate::broker {

bool Nursery::end_if_silent(std::uint64_t now_ns) {
    return heartbeat_.is_silent(zygote_, now_ns) && ::kill(zygote_, SIGKILL) == 0;
}

Result<void> Nursery::order(const worker::ForkRequest& request, const UniqueFd& channel) {
    const int fd = channel.get();
    return shm::send_message(socket_.get(), request, {&fd, 1});
}

std::optional<Nursery::News> Nursery::next(bool& gone) {
    shm::Message message;
    const shm::Received received = shm::receive_message(socket_.get(), message, false);
    gone = received == shm::Received::closed || received == shm::Received::lie;
    if (received != shm::Received::message) {
        return std::nullopt;
    }
    const auto reply = message.as<worker::ForkReply>(message.fd_count);
    if (!reply) {
        return std::nullopt;
    }
    return News{*reply, std::move(message.fds[0])};
}

}  // namespace sonogate::broker
