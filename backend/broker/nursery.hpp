// The broker's line to the zygote: children are ordered here, their births and deaths told.
//
// For: pool.hpp. Not for: what children do.
#pragma once

#include <optional>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "broker/heartbeat.hpp"
#include "shm/message.hpp"
#include "worker/fork_request.hpp"

namespace sonogate::broker {

class Nursery {
  public:
    Nursery(UniqueFd socket, std::int32_t zygote) : socket_(std::move(socket)), zygote_(zygote) {}

    int socket() const noexcept { return socket_.get(); }

    // True once, where the zygote showed no sign of life for too long: it was killed.
    bool end_if_silent(std::uint64_t now_ns);

    // Orders a child whose end of the channel is `channel`; the news comes later. Errors:
    // overloaded where the zygote is behind, internal with errno where it is gone.
    Result<void> order(const worker::ForkRequest& request, const UniqueFd& channel);

    // The broker has drained; what it may not remove itself is the zygote's to remove.
    void farewell() { (void)shm::send_message(socket_.get(), worker::ForkRequest{}); }

    struct News {
        worker::ForkReply reply;
        UniqueFd pidfd;  // born
    };

    // One piece of news, or none. `gone` is set where the zygote is dead.
    std::optional<News> next(bool& gone);

  private:
    UniqueFd socket_;
    std::int32_t zygote_;  // our own child, not reaped while we live
    Heartbeat heartbeat_;
};

}  // namespace sonogate::broker
