// The zygote: the process that every worker and the librarian are forked from.
//
// For: cheap, clean children. It is forked from main before any segment, thread or connection
// exists, plans the common transforms once, and holds nothing that a child must not have. Not for:
// deciding who lives (broker/pool.hpp), nor for what a child does (the role functions).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/unique_fd.hpp"
#include "shm/channel.hpp"
#include "worker/fork_request.hpp"
#include "worker/operation.hpp"

namespace sonogate::worker {

// What a child runs, confined by `layers` (bits of sandbox/layers.hpp), given its end of the
// channel; the value is its exit status.
struct Roles {
    std::function<int(shm::ChildChannel channel, std::uint32_t layers)> worker;
    std::function<int(UniqueFd channel, const ForkRequest& request, std::uint32_t layers)>
        librarian;
    std::function<void()> farewell;  // in the zygote: the broker ends in order
};

// Makes the plans of `operations`, then serves fork requests until the broker is gone, then ends
// the workers, lets the librarian commit, and returns 0. Also returns in each forked child, with
// the role's exit status: the caller leaves main with it. Every descriptor but 0, 1, 2 and `socket`
// is closed, the environment emptied.
int run_zygote(UniqueFd socket, const std::string& state_folder, Operations& operations,
               const Roles& roles);

}  // namespace sonogate::worker
