// What stands between a child of the daemon and the machine, a bit each.
//
// For: the child that tells what it got (in its hello) and the broker that shows it. Not for: how
// any of it is done.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sonogate::sandbox {

enum Layer : std::uint32_t {
    user_namespace = 1U << 0U,
    mount_namespace = 1U << 1U,
    network_namespace = 1U << 2U,
    pid_namespace = 1U << 3U,
    ipc_namespace = 1U << 4U,
    empty_root = 1U << 5U,    // no path exists
    unprivileged = 1U << 6U,  // neither root's user id nor a capability
    no_new_privileges = 1U << 7U,
    limits = 1U << 8U,  // rlimits of its role
    filter = 1U << 9U,  // seccomp
};
inline constexpr std::array<std::string_view, 10> layer_names = {
    "user_namespace", "mount_namespace", "network_namespace", "pid_namespace", "ipc_namespace",
    "empty_root",     "unprivileged",    "no_new_privileges", "limits",        "filter"};

inline constexpr std::uint32_t worker_layers = (1U << layer_names.size()) - 1;  // all of them
// Of the librarian and the broker, who need files and sockets.
inline constexpr std::uint32_t filter_layers = no_new_privileges | filter;

}  // namespace sonogate::sandbox
