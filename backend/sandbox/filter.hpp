// Which system calls a process may make: one seccomp program a role.
//
// For: the zygote, which compiles them once and gives each child its own; main, for the broker.
// Not for: what a process may reach (namespaces.hpp). A worker's program names what it needs and
// refuses the rest with ENOSYS, counted; the others' name what they never do.
//
//             exec, ptrace,  fork    sockets    files     pages that  all else
//             other memory                                can be run
//   worker    killed         killed  killed     ENOSYS    killed      ENOSYS
//   librarian killed         killed  killed     yes       killed      yes
//   broker    killed         killed  unix only  to read   killed      yes
//   zygote    killed         yes     yes        yes       yes         yes
//
// Other memory is that of process_vm_readv() and its kin. What stands in /proc is a file: it is
// kept from the librarian and the broker by PR_SET_DUMPABLE and capabilities (confinement.cpp). To
// read: no file is opened to write, created, cut, renamed, removed, linked or given other rights;
// what is open already, memfds above all, is written.
#pragma once

#include <linux/filter.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/result.hpp"

namespace sonogate::sandbox {

// Sanitizers map, open and spawn what they like: their builds run without a program, and say so.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool has_filters = false;
#else
inline constexpr bool has_filters = true;
#endif

// A compiled program. It is the kernel's bytes: loading it takes some 20 µs, compiling it some ms.
class Filter {
  public:
    static Result<Filter> worker();
    static Result<Filter> librarian();
    static Result<Filter> broker();
    static Result<Filter> zygote();

    // From here on, for the calling process and all it forks; also sets no_new_privs. Errors:
    // internal with errno.
    Result<void> load() const noexcept;

    std::size_t instructions() const noexcept { return program_.size(); }

  private:
    std::vector<sock_filter> program_;
    friend class Draft;
};

// Where refused calls of this process are counted from now on, and the number of the last one is
// kept: SIGSYS tells of each, and it ends as ENOSYS. What was counted before is carried over. Both
// live as long as the process.
void count_refused_calls_in(std::atomic<std::uint64_t>& count,
                            std::atomic<std::uint64_t>& last) noexcept;

// Installs that handler; before load() of a worker's program, which kills without it.
void handle_refused_calls() noexcept;

}  // namespace sonogate::sandbox
