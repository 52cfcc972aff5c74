// A child that is apart: cloned and moved into namespaces of its own, as far as the kernel allows.
//
// For: the zygote, and a worker's first steps. Not for: what calls a process may make (filter.hpp).
// Whoever may not have them (a container, a hardened kernel) gets fewer; the bits of layers.hpp
// tell which.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace sonogate::sandbox {

// As fork(2), from a process with one thread, and into a pid namespace of the child's own: there it
// is process 1 and can name nobody. An ordinary user gets a user namespace with it, without which
// there is no other. `layers` is what it got, told to parent and child alike; an ordinary fork
// where nothing is to be had. The cloning process does not unshare, for then it could not fork
// again once its first child has died.
pid_t fork_apart(std::uint32_t& layers) noexcept;

// Makes the calling process' folder an empty one that no longer has a name: nothing can be found in
// it or put into it. Tried in `state_folder` first. False where no folder could be made.
bool enter_nameless_folder(const std::string& state_folder) noexcept;

// In the child: an ordinary user instead of root, the other namespaces, the current folder as root
// where it is a nameless one, no capability. Returns `layers` and what was added.
std::uint32_t move_apart(std::uint32_t layers, bool nameless_folder) noexcept;

// Gives up every capability but those (numbers of <linux/capability.h>), as far as it has them.
bool keep_capabilities(std::initializer_list<unsigned> wanted) noexcept;

}  // namespace sonogate::sandbox
