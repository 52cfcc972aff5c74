// The broker's line to the zygote: children are ordered here, their births and deaths told.
//
// For: pool.hpp. Not for: what children do.
#pragma once

#include <optional>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "worker/fork_request.hpp"

namespace sonogate::broker {

class Nursery {
  public:
    explicit Nursery(UniqueFd zygote) : socket_(std::move(zygote)) {}

    int socket() const noexcept { return socket_.get(); }

    // Orders a child whose end of the channel is `channel`; the news comes later. Errors:
    // overloaded where the zygote is behind, internal with errno where it is gone.
    Result<void> order(const worker::ForkRequest& request, const UniqueFd& channel);

    struct News {
        worker::ForkReply reply;
        UniqueFd pidfd;  // born
    };

    // One piece of news, or none. `gone` is set where the zygote is dead.
    std::optional<News> next(bool& gone);

  private:
    UniqueFd socket_;
};

}  // namespace sonogate::broker
