#include "broker/nursery.hpp"

#include <utility>

#include "shm/message.hpp"

namespace sonogate::broker {

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
