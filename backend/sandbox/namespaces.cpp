#include "sandbox/namespaces.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "sandbox/layers.hpp"

namespace sonogate::sandbox {

namespace {

constexpr uid_t nobody = 65534;  // the kernel's own "no such user"

struct Birth {
    int flags;
    std::uint32_t layers;
};
// Root needs no user namespace for the first: it takes one later, when it is no longer root.
constexpr Birth as_root = {CLONE_NEWPID, pid_namespace};
constexpr Birth as_anybody = {CLONE_NEWUSER | CLONE_NEWPID, user_namespace | pid_namespace};

// What fork(3) does beyond this is for processes with threads. The thread id that the C library
// remembers stays the parent's: it compares it with itself alone.
pid_t clone_process(int flags) noexcept {
    return static_cast<pid_t>(::syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
}

using Capabilities = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

bool get_capabilities(Capabilities& out) noexcept {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    return ::syscall(SYS_capget, &header, out.data()) == 0;
}

bool set_capabilities(const Capabilities& wanted) noexcept {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    return ::syscall(SYS_capset, &header, wanted.data()) == 0;
}

// The capabilities stay until move_apart() is done with them.
bool become_nobody() noexcept {
    ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (::setgroups(0, nullptr) != 0 || ::setresgid(nobody, nobody, nobody) != 0 ||
        ::setresuid(nobody, nobody, nobody) != 0) {
        return false;
    }
    Capabilities all{};
    if (get_capabilities(all)) {
        for (auto& word : all) {
            word.effective = word.permitted;
        }
        set_capabilities(all);
    }
    return true;
}

}  // namespace

pid_t fork_apart(std::uint32_t& layers) noexcept {
    const bool root = ::geteuid() == 0;
    for (const Birth& birth : {as_root, as_anybody}) {
        if (birth.flags == as_root.flags && !root) {
            continue;
        }
        layers = birth.layers | (root ? 0U : unprivileged);
        if (const pid_t pid = clone_process(birth.flags); pid >= 0) {
            return pid;
        }
    }
    layers = root ? 0U : unprivileged;
    return ::fork();
}

bool enter_nameless_folder(const std::string& state_folder) noexcept {
    for (const char* where : {state_folder.c_str(), "/dev/shm", "/tmp"}) {
        std::array<char, 4096> path{};
        const int size = std::snprintf(path.data(), path.size(), "%s/.empty-XXXXXX", where);
        if (size <= 0 || static_cast<std::size_t>(size) >= path.size() ||
            ::mkdtemp(path.data()) == nullptr) {
            continue;
        }
        // Flawfinder: ignore (a folder that mkdtemp just made)
        const bool entered = ::chmod(path.data(), 0555) == 0 && ::chdir(path.data()) == 0;
        if (::rmdir(path.data()) == 0 && entered) {
            return true;
        }
    }
    return false;
}

bool keep_capabilities(std::initializer_list<unsigned> wanted) noexcept {
    Capabilities kept{};
    for (const unsigned capability : wanted) {
        kept[CAP_TO_INDEX(capability)].permitted |= CAP_TO_MASK(capability);
    }
    Capabilities has{};
    if (!get_capabilities(has)) {
        return false;
    }
    for (std::size_t i = 0; i < kept.size(); ++i) {
        kept[i].permitted &= has[i].permitted;
        kept[i].effective = kept[i].permitted;
    }
    return set_capabilities(kept);
}

std::uint32_t move_apart(std::uint32_t layers, bool nameless_folder) noexcept {
    // Root that needed a user namespace to be cloned has no other user there to become.
    if ((layers & (unprivileged | user_namespace)) == 0 && become_nobody()) {
        layers |= unprivileged;
    }
    struct Part {
        int flag;
        std::uint32_t layer;
    };
    // One by one: where one is refused the others are worth having. User first: whoever is
    // refused the others as himself has a right to them in his own.
    constexpr std::array<Part, 4> parts = {{{CLONE_NEWUSER, user_namespace},
                                            {CLONE_NEWNS, mount_namespace},
                                            {CLONE_NEWNET, network_namespace},
                                            {CLONE_NEWIPC, ipc_namespace}}};
    for (const Part& part : parts) {
        if ((layers & part.layer) == 0 && ::unshare(part.flag) == 0) {
            layers |= part.layer;
        }
    }
    // Flawfinder: ignore (chdir follows, and the capability goes at once)
    if (nameless_folder && ::chroot(".") == 0 && ::chdir("/") == 0) {
        layers |= empty_root;
    }
    return set_capabilities({}) ? layers : layers & ~static_cast<std::uint32_t>(unprivileged);
}

}  // namespace sonogate::sandbox
