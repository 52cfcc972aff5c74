// What broker and zygote say to each other: one packet each, on a SOCK_SEQPACKET socketpair.
//
// For: worker/zygote.cpp and broker/nursery.cpp. Not for: jobs. Both ends are the same binary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/layout.hpp"

namespace sonogate::worker {

enum class Role : std::uint32_t { none = 0, worker, librarian, count_ };

inline constexpr std::size_t store_bytes_max = 1040;

// broker -> zygote, with one descriptor: the child's end of its channel. With none, and no role:
// the broker ends in order, and this was the last.
struct ForkRequest {
    std::uint64_t birth = 0;  // the broker's number for this child, repeated in every reply
    Role role = Role::none;
    std::uint32_t index = 0;           // which worker, for its title
    std::int32_t nice = 0;             // added to the daemon's own
    std::uint32_t search_threads = 1;  // librarian
    std::uint32_t store_bytes = 0;     // librarian: length of `store`, "sqlite:/absolute/path"
    std::array<char, store_bytes_max> store{};
    std::uint32_t reserved = 0;
    // A worker's bounds:
    std::uint64_t job_memory_bytes = 0;  // what it may allocate beyond what it starts with
    std::uint64_t result_bytes = 0;      // its largest answer
    std::uint64_t upload_bytes = 0;      // the largest upload that it is handed
};
static_assert(std::is_trivially_copyable_v<ForkRequest> &&
              sizeof(ForkRequest) <= shm::max_message_bytes);

enum class ForkNews : std::uint32_t { none = 0, born, failed, died };

// zygote -> broker. `born` comes with one descriptor: the child's pidfd, so that whoever is killed
// is never a stranger with a used-again number. `failed`: fork said no, errno in status. `died`:
// the status of waitpid(2).
struct ForkReply {
    std::uint64_t birth = 0;
    ForkNews news = ForkNews::none;
    std::int32_t pid = 0;
    std::int32_t status = 0;
    std::uint32_t reserved = 0;
};
static_assert(std::is_trivially_copyable_v<ForkReply>);

}  // namespace sonogate::worker
