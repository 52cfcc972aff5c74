// What a process that was taken over can do, a worker above all: each attempt is made inside the
// real sandbox, in a process that a zygote cloned, and its end is looked at from outside.
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"
#include "sandbox/confinement.hpp"
#include "sandbox/layers.hpp"
#include "sandbox/namespaces.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using namespace sonogate::sandbox;

namespace {

constexpr std::uint64_t job_memory_bytes = 64U << 20U;
constexpr std::uint64_t result_bytes = 1U << 20U;
constexpr std::uint64_t upload_bytes = 32U << 20U;
int segment_fd = -1;         // the worker's own, in the worker
constexpr int slab_fd = 77;  // another job's upload, as a careless zygote would leave it open

// What the worker writes down for the test, in memory that both map.
struct Told {
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> last{0};
    std::atomic<std::uint32_t> layers{0};
    std::atomic<int> result{0};
    std::atomic<int> error{0};
    std::atomic<int> status{0};  // of waitpid, noted by the zygote
    std::atomic<bool> returned{false};
};

struct Seen {
    std::uint64_t refused = 0;
    std::uint32_t layers = 0;
    int result = 0;
    int error = 0;
    int status = 0;
    bool returned = false;
};

using Attempt = std::function<int(int channel)>;

// A worker's life around `attempt`, below a zygote of its own. `before` runs in the zygote first:
// it makes the system poorer.
Seen inside(
    const Attempt& attempt, const std::function<void()>& before = [] {}) {
    void* const shared =
        ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    auto* const told = new (shared) Told;
    std::array<int, 2> ends{-1, -1};
    assert_int_equal(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    const pid_t zygote = ::fork();
    if (zygote == 0) {
        before();
        const UniqueFd slab(::memfd_create("sonogate-slab", 0));
        (void)!::write(slab.get(), "somebody's audio", 16);
        ::dup2(slab.get(), slab_fd);
        const UniqueFd segment(::memfd_create("segment", MFD_ALLOW_SEALING));
        const Confinement confinement("/tmp");
        ::signal(SIGSEGV, SIG_DFL);  // cmocka's own would take the fault that abort() ends by
        std::uint32_t layers = 0;
        const pid_t worker = fork_apart(layers);
        if (worker == 0) {
            told->layers = confinement.enter_as_worker(layers, {ends[1], segment.get()},
                                                       {.job_memory_bytes = job_memory_bytes,
                                                        .result_bytes = result_bytes,
                                                        .upload_bytes = upload_bytes});
            segment_fd = segment.get();
            count_refused_calls_in(told->refused, told->last);
            errno = 0;
            told->result = attempt(ends[1]);
            told->error = errno;
            told->returned = true;
            ::_exit(0);
        }
        int status = -1;
        ::waitpid(worker, &status, 0);
        told->status = status;
        ::_exit(worker > 0 ? 0 : 1);
    }
    int status = -1;
    ::waitpid(zygote, &status, 0);
    assert_int_equal(status, 0);
    ::close(ends[0]);
    ::close(ends[1]);
    const Seen out{told->refused, told->layers, told->result,
                   told->error,   told->status, told->returned};
    ::munmap(shared, sizeof(Told));
    return out;
}

bool killed_by_filter(const Seen& seen) {
    return WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGSYS && !seen.returned;
}

template <typename... Arguments>
Attempt call(long number, Arguments... arguments) {
    return [=](int) { return static_cast<int>(::syscall(number, arguments...)); };
}

// A page, of its segment where nothing else is asked for.
Attempt mapped(int protection, int flags) {
    return [=](int) {
        const int fd = (flags & MAP_ANONYMOUS) != 0 ? -1 : segment_fd;
        return ::mmap(nullptr, 4096, protection, flags, fd, 0) == MAP_FAILED ? -1 : 0;
    };
}

void* page(int protection) {
    return ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

struct Named {
    const char* name;
    Attempt attempt;
};

void what_no_decoder_needs_kills(void**) {
    if (!has_filters) {
        skip();
    }
    const std::vector<Named> attempts = {
        {"exec", [](int) { return ::execl("/bin/true", "true", nullptr); }},
        {"execveat", call(SYS_execveat, AT_FDCWD, "/bin/true", nullptr, nullptr, 0)},
        {"fork", [](int) { return static_cast<int>(::fork()); }},
        {"clone", call(SYS_clone, SIGCHLD, 0, 0, 0, 0)},
        {"a thread", call(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0)},
        {"ptrace", [](int) { return static_cast<int>(::ptrace(PTRACE_TRACEME, 0, 0, 0)); }},
        {"another's memory", call(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0)},
        {"a descriptor of another", call(SYS_pidfd_getfd, 3, 0, 0)},
        {"socket", [](int) { return ::socket(AF_INET, SOCK_STREAM, 0); }},
        {"socketpair",
         [](int) {
             std::array<int, 2> ends{};
             return ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data());
         }},
        {"connect",
         [](int channel) {
             const sockaddr to{.sa_family = AF_UNIX, .sa_data = {}};
             return ::connect(channel, &to, sizeof(to));
         }},
        {"map executable", [](int) { return page(PROT_READ | PROT_EXEC) == MAP_FAILED ? -1 : 0; }},
        {"make executable",
         [](int) { return ::mprotect(page(PROT_READ), 4096, PROT_READ | PROT_EXEC); }},
        {"unshare", [](int) { return ::unshare(CLONE_NEWUSER); }},
        {"chroot", [](int) { return ::chroot("."); }},
        {"mount", call(SYS_mount, "none", "/", "tmpfs", 0, nullptr)},
        {"bpf", call(SYS_bpf, 0, nullptr, 0)},
        {"io_uring", call(SYS_io_uring_setup, 1, nullptr)},
        {"root again", [](int) { return ::setuid(0); }},
        {"count no more", [](int) { return ::signal(SIGSYS, SIG_DFL) == SIG_ERR ? -1 : 0; }},
        {"count no more, by a number that the kernel cuts",
         call(SYS_rt_sigaction, (1L << 32) | SIGSYS, nullptr, nullptr, 8)},
    };
    for (const auto& [name, attempt] : attempts) {
        const Seen seen = inside(attempt);
        if (!killed_by_filter(seen)) {
            fail_msg("%s: status %x, result %d, errno %d", name, static_cast<unsigned>(seen.status),
                     seen.result, seen.error);
        }
    }
}

void everything_else_is_refused_and_counted(void**) {
    if (!has_filters) {
        skip();
    }
    const std::vector<Named> attempts = {
        {"open", [](int) { return ::open("/etc/passwd", O_RDONLY); }},
        {"open another job's descriptor", [](int) { return ::open("/proc/1/fd/77", O_RDWR); }},
        {"create", [](int) { return ::open("x", O_CREAT | O_WRONLY, 0600); }},
        {"openat2", call(SYS_openat2, AT_FDCWD, "/etc/passwd", nullptr, 0)},
        {"stat",
         [](int) {
             struct stat out {};
             return ::stat("/etc/passwd", &out);
         }},
        {"unlink", [](int) { return ::unlink("/etc/passwd"); }},
        {"read",
         [](int) {
             std::array<char, 16> out{};
             return static_cast<int>(::read(slab_fd, out.data(), out.size()));
         }},
        {"kill", [](int) { return ::kill(-1, SIGKILL); }},
        {"clone3", call(SYS_clone3, nullptr, 0)},
        {"raise a limit",
         [](int) {
             const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
             return ::setrlimit(RLIMIT_DATA, &all);
         }},
        {"be debugged", [](int) { return ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }},
        {"huge pages", [](int) { return ::memfd_create("x", MFD_HUGETLB); }},
        {"a handler", [](int) { return ::signal(SIGSEGV, SIG_IGN) == SIG_ERR ? -1 : 0; }},
        {"a larger segment", [](int) { return ::ftruncate(segment_fd, 4096); }},
        {"ask after a path",
         [](int) {
             struct stat out {};
             return static_cast<int>(
                 ::syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &out, AT_EMPTY_PATH));
         }},
        {"shared memory", mapped(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)},
        {"shared memory to read", mapped(PROT_READ, MAP_SHARED | MAP_ANONYMOUS)},
        {"a stack", mapped(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN)},
        {"pages that are huge", mapped(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)},
        {"map its segment again", mapped(PROT_READ | PROT_WRITE, MAP_SHARED)},
        {"map its segment for itself", mapped(PROT_READ | PROT_WRITE, MAP_PRIVATE)},
        {"make writable",
         [](int) { return ::mprotect(page(PROT_READ), 4096, PROT_READ | PROT_WRITE); }},
        {"sysv memory", [](int) { return ::shmget(IPC_PRIVATE, 4096, 0600); }},
        {"a duplicate", [](int channel) { return ::dup(channel); }},
        {"a lock", [](int channel) { return ::fcntl(channel, F_SETFL, O_NONBLOCK); }},
    };
    for (const auto& [name, attempt] : attempts) {
        const Seen seen = inside(attempt);
        if (seen.status != 0 || !seen.returned || seen.result != -1 || seen.error != ENOSYS ||
            seen.refused != 1) {
            fail_msg("%s: status %x, result %d, errno %d, %lu counted", name,
                     static_cast<unsigned>(seen.status), seen.result, seen.error,
                     static_cast<unsigned long>(seen.refused));
        }
    }
}

void whoever_blocks_the_count_is_killed(void**) {
    if (!has_filters) {
        skip();
    }
    assert_true(killed_by_filter(inside([](int) {
        sigset_t all;
        ::sigfillset(&all);
        ::sigprocmask(SIG_BLOCK, &all, nullptr);
        return ::open("/etc/passwd", O_RDONLY);
    })));
}

void no_descriptor_but_the_channel_is_left(void**) {
    const Seen seen = inside([](int channel) {
        int open = 0;
        for (int fd = has_filters ? 0 : 3; fd < 100; ++fd) {
            struct stat out {};
            open += ::syscall(SYS_fstat, fd, &out) == 0 ? 1 : 0;
        }
        struct stat out {};
        const bool kept =
            ::syscall(SYS_fstat, channel, &out) == 0 && ::syscall(SYS_fstat, segment_fd, &out) == 0;
        return kept ? open - 2 : -1;
    });
    assert_int_equal(seen.result, 0);
    const Seen mapped = inside([](int) {
        return ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, slab_fd, 0) == MAP_FAILED ? errno : 0;
    });
    assert_int_equal(mapped.result, EBADF);
}

void a_segment_of_another_cannot_be_written(void**) {
    const Seen seen = inside([](int) {
        // Made here, since nothing else can be had: its first mapping stands for its owner's.
        const UniqueFd segment(::memfd_create("segment", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        const std::array<char, 4096> bytes{};
        if (::write(segment.get(), bytes.data(), bytes.size()) != 4096 ||
            ::fcntl(segment.get(), F_ADD_SEALS,
                    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
            return -1;
        }
        void* const read = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, segment.get(), 0);
        int failed = 0;
        failed += ::mprotect(read, 4096, PROT_READ | PROT_WRITE) != 0 ? 1 : 0;
        failed += ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, segment.get(), 0) ==
                          MAP_FAILED
                      ? 1
                      : 0;
        failed += ::write(segment.get(), "x", 1) < 0 ? 1 : 0;
        failed += ::ftruncate(segment.get(), 8192) != 0 ? 1 : 0;
        failed += ::fcntl(segment.get(), F_ADD_SEALS, F_SEAL_WRITE) != 0 ? 1 : 0;
        return read != MAP_FAILED ? failed : -2;
    });
    assert_int_equal(seen.status, 0);
    assert_int_equal(seen.result, 5);
}

void a_workers_own_work_goes_on(void**) {
    const Seen seen = inside([](int channel) {
        std::vector<std::string> heap;
        for (int i = 0; i < 1000; ++i) {
            heap.emplace_back(static_cast<std::size_t>(i) * 40, 'x');
        }
        const UniqueFd file(::memfd_create("result", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        const bool written = ::write(file.get(), heap[900].data(), 10'000) == 10'000 &&
                             ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE) == 0;
        timespec now{};
        return written && ::send(channel, "x", 1, MSG_NOSIGNAL) == 1 &&
                       ::clock_gettime(CLOCK_MONOTONIC, &now) == 0
                   ? 1
                   : 0;
    });
    assert_int_equal(seen.result, 1);
    assert_int_equal(seen.refused, 0);
}

void memory_is_bounded_for_good(void**) {
    const auto map = [](std::uint64_t bytes, int protection) {
        return inside([=](int) {
                   void* const room =
                       ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                   return room == MAP_FAILED ? errno : 0;
               })
            .result;
    };
    assert_int_equal(map(job_memory_bytes * 3 / 4, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(map(2 * job_memory_bytes, PROT_READ | PROT_WRITE), ENOMEM);
    if (has_filters) {  // whose page tables nobody would count
        assert_int_equal(map(job_memory_bytes + upload_bytes, PROT_READ), 0);
        assert_int_equal(map(1ULL << 40U, PROT_READ), ENOMEM);
    }
    const Seen seen = inside([](int) {
        const UniqueFd file(::memfd_create("result", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        const std::vector<char> result(result_bytes);
        return ::write(file.get(), result.data(), result.size()) ==
                       static_cast<ssize_t>(result.size())
                   ? static_cast<int>(::write(file.get(), "x", 1))
                   : 0;
    });
    assert_true(seen.result == -1 ||
                (WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGXFSZ));
    const Seen full = inside([](int) {
        int files = 0;
        while (::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING) >= 0 && files < 1000) {
            ++files;
        }
        return files;
    });
    assert_in_range(full.result, 1, 20);
}

void abort_ends_it_and_is_no_attempt(void**) {
    const Seen seen = inside([](int) -> int { std::abort(); });
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) != SIGSYS);
    assert_int_equal(seen.refused, 0);
}

constexpr std::uint32_t always =
    unprivileged | no_new_privileges | limits | (has_filters ? filter : 0U);

void root_becomes_nobody(void**) {
    if (::geteuid() != 0) {
        skip();
    }
    const Seen seen = inside([](int) { return 0; });
    assert_int_equal(seen.layers & always, always);
}

void an_ordinary_user_gets_what_there_is(void**) {
    const Seen seen = inside([](int) { return 0; },
                             [] {
                                 if (::geteuid() == 0 && ::setresuid(1234, 1234, 1234) != 0) {
                                     ::_exit(1);
                                 }
                             });
    assert_int_equal(seen.layers & always, always);
    // One without the other would be ours to mend: a user namespace gives the right to the rest.
    if ((seen.layers & user_namespace) != 0) {
        const std::uint32_t all =
            has_filters ? worker_layers : worker_layers & ~(filter | empty_root);
        assert_int_equal(seen.layers & all, all);
    }
}

// As containers do: no namespace of any kind.
void refuse_namespaces() {
    const scmp_filter_ctx context = ::seccomp_init(SCMP_ACT_ALLOW);

    for (const unsigned long flag : {CLONE_NEWUSER, CLONE_NEWPID}) {
        ::seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                           SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
    }

    ::seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 0);
    if (::seccomp_load(context) != 0) {
        ::_exit(1);
    }
}

void where_no_namespace_is_to_be_had_the_rest_still_holds(void**) {
    const auto attempt = [](int) { return ::open("/etc/passwd", O_RDONLY); };
    for (const bool ordinary : {false, true}) {
        const Seen seen = inside(attempt, [&] {
            if (ordinary && ::geteuid() == 0 && ::setresuid(1234, 1234, 1234) != 0) {
                ::_exit(1);
            }
            refuse_namespaces();
        });
        assert_int_equal(seen.layers & (user_namespace | pid_namespace | network_namespace), 0);
        assert_int_equal(seen.layers & always, always);
        assert_int_equal(seen.refused, has_filters ? 1 : 0);
        const bool root = ::geteuid() == 0 && !ordinary;  // may still leave for an empty folder
        assert_int_equal(seen.layers & empty_root,
                         root && has_filters ? std::uint32_t{empty_root} : 0U);
    }
}

// ---- the librarian, the broker, the zygote

enum class Role { librarian, broker, zygote };
constexpr std::array<const char*, 3> role_names = {"librarian", "broker", "zygote"};

// As inside(), in a child of a zygote that became `role`.
Seen inside_of(Role role, const Attempt& attempt) {
    void* const shared =
        ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    auto* const told = new (shared) Told;
    const pid_t zygote = ::fork();
    if (zygote == 0) {
        const Confinement confinement("/tmp");
        const pid_t child = ::fork();
        if (child == 0) {
            told->layers = role == Role::librarian ? confinement.enter_as_librarian()
                           : role == Role::broker  ? enter_as_broker()
                                                   : filter_layers;
            errno = 0;
            told->result = attempt(-1);
            told->error = errno;
            told->returned = true;
            ::_exit(0);
        }
        int status = -1;
        ::waitpid(child, &status, 0);
        told->status = status;
        ::_exit(0);
    }
    int status = -1;
    ::waitpid(zygote, &status, 0);
    assert_int_equal(status, 0);
    const Seen out{told->refused, told->layers, told->result,
                   told->error,   told->status, told->returned};
    ::munmap(shared, sizeof(Told));
    return out;
}

void assert_killed(Role role, const std::vector<Named>& attempts) {
    for (const auto& [name, attempt] : attempts) {
        const Seen seen = inside_of(role, attempt);
        if (!killed_by_filter(seen)) {
            fail_msg("%s, %s: status %x, result %d, errno %d",
                     role_names[static_cast<std::size_t>(role)], name,
                     static_cast<unsigned>(seen.status), seen.result, seen.error);
        }
    }
}

void no_process_of_the_daemon_runs_programs_or_looks_into_others(void**) {
    if (!has_filters) {
        skip();
    }
    for (const Role role : {Role::librarian, Role::broker, Role::zygote}) {
        assert_killed(
            role,
            {{"exec", [](int) { return ::execl("/bin/true", "true", nullptr); }},
             {"execveat", call(SYS_execveat, AT_FDCWD, "/bin/true", nullptr, nullptr, 0)},
             {"ptrace", [](int) { return static_cast<int>(::ptrace(PTRACE_TRACEME, 0, 0, 0)); }},
             {"read another's memory", call(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0)},
             {"write another's memory", call(SYS_process_vm_writev, 1, nullptr, 0, nullptr, 0, 0)},
             {"a descriptor of another", call(SYS_pidfd_getfd, 3, 0, 0)},
             {"bpf", call(SYS_bpf, 0, nullptr, 0)},
             {"perf", call(SYS_perf_event_open, nullptr, 0, 0, -1, 0)},
             {"faults of its own", call(SYS_userfaultfd, 0)},
             {"io_uring", call(SYS_io_uring_setup, 1, nullptr)},
             {"a module", call(SYS_finit_module, 0, "", 0)},
             {"a key", call(SYS_keyctl, 0, 0, 0, 0, 0)},
             {"mount", call(SYS_mount, "none", "/tmp", "tmpfs", 0, nullptr)},
             {"open by handle", call(SYS_open_by_handle_at, -1, nullptr, 0)}});
    }
}

void librarian_and_broker_make_no_process_and_no_code(void**) {
    if (!has_filters) {
        skip();
    }
    for (const Role role : {Role::librarian, Role::broker}) {
        assert_killed(
            role, {{"fork", [](int) { return static_cast<int>(::fork()); }},
                   {"clone", call(SYS_clone, SIGCHLD, 0, 0, 0, 0)},
                   {"unshare", [](int) { return ::unshare(CLONE_NEWUSER); }},
                   {"setns", [](int) { return ::setns(0, 0); }},
                   {"chroot", [](int) { return ::chroot("/"); }},
                   {"another user", [](int) { return ::setuid(12345); }},
                   {"map executable",
                    [](int) { return page(PROT_READ | PROT_EXEC) == MAP_FAILED ? -1 : 0; }},
                   {"make executable",
                    [](int) { return ::mprotect(page(PROT_READ), 4096, PROT_READ | PROT_EXEC); }},
                   {"personality", call(SYS_personality, 0x0400000)},
                   {"an internet socket", [](int) { return ::socket(AF_INET, SOCK_STREAM, 0); }}});
    }
    assert_killed(Role::librarian,
                  {{"socket", [](int) { return ::socket(AF_UNIX, SOCK_STREAM, 0); }},
                   {"connect", call(SYS_connect, -1, nullptr, 0)},
                   {"accept", call(SYS_accept4, -1, nullptr, nullptr, 0)}});
}

void the_broker_opens_files_to_read_and_changes_none(void**) {
    if (!has_filters) {
        skip();
    }
    std::array<char, 32> name{"/tmp/confinement-XXXXXX"};
    const UniqueFd victim(::mkstemp(name.data()));
    assert_true(victim && ::write(victim.get(), "kept", 4) == 4);
    static std::string path;
    path = name.data();
    const auto opened = [](int flags) -> Attempt {
        return [=](int) { return ::open(path.c_str(), flags, 0600); };
    };
    const std::vector<Named> attempts = {
        {"open to write", opened(O_WRONLY)},
        {"open to read and write", opened(O_RDWR)},
        {"open to do neither", opened(O_ACCMODE)},
        {"cut while opening", opened(O_RDONLY | O_TRUNC)},
        {"create", opened(O_RDONLY | O_CREAT)},
        {"a file without a name", [](int) { return ::open("/tmp", O_TMPFILE | O_RDWR, 0600); }},
        {"openat2", call(SYS_openat2, AT_FDCWD, "/etc/passwd", nullptr, 0)},
        {"cut", [](int) { return ::truncate(path.c_str(), 0); }},
        {"unlink", [](int) { return ::unlink(path.c_str()); }},
        {"unlinkat", [](int) { return ::unlinkat(AT_FDCWD, path.c_str(), 0); }},
        {"rename", [](int) { return ::rename(path.c_str(), (path + "x").c_str()); }},
        {"renameat2", call(SYS_renameat2, -1, nullptr, -1, nullptr, 0)},
        {"link", [](int) { return ::link(path.c_str(), (path + "x").c_str()); }},
        {"symlink", [](int) { return ::symlink("x", (path + "x").c_str()); }},
        {"chmod", [](int) { return ::chmod(path.c_str(), 0777); }},
        {"fchmod", [](int) { return ::fchmod(0, 0777); }},
        {"chown", [](int) { return ::chown(path.c_str(), 1, 1); }},
        {"mkdir", [](int) { return ::mkdir((path + "x").c_str(), 0700); }},
        {"rmdir", [](int) { return ::rmdir("/tmp"); }},
        {"mkfifo", [](int) { return ::mknod((path + "x").c_str(), S_IFIFO | 0600, 0); }},
        {"bind", call(SYS_bind, -1, nullptr, 0)},
    };
    for (const auto& [what, attempt] : attempts) {
        const Seen seen = inside_of(Role::broker, attempt);
        if (seen.result != -1 || seen.error != EACCES) {
            fail_msg("%s: result %d, errno %d", what, seen.result, seen.error);
        }
    }
    assert_true(inside_of(Role::broker, opened(O_RDONLY)).result >= 0);
    struct stat status {};
    assert_int_equal(::stat(path.c_str(), &status), 0);
    assert_int_equal(status.st_size, 4);
    ::unlink(path.c_str());
}

void who_may_open_files_opens_no_memory_of_another(void**) {
    static std::string path;  // the zygote is as hard to look into as the broker
    for (const Role role : {Role::librarian, Role::broker}) {
        for (const int flags : {O_RDONLY, O_RDWR}) {
            const Seen seen = inside_of(role, [=](int) {
                path = "/proc/" + std::to_string(::getppid()) + "/mem";
                return ::open(path.c_str(), flags);
            });
            assert_int_equal(seen.result, -1);
            assert_int_equal(seen.error, EACCES);
        }
    }
}

void the_librarian_works_on_files_and_the_broker_on_memory(void**) {
    const auto a_thread = [] {
        int out = 0;
        std::thread([&] { out = 1; }).join();
        return out;
    };
    const Seen librarian = inside_of(Role::librarian, [=](int) {
        std::array<char, 32> name{"/tmp/confinement-XXXXXX"};
        const UniqueFd file(::mkstemp(name.data()));
        return file && ::write(file.get(), "x", 1) == 1 && ::unlink(name.data()) == 0 ? a_thread()
                                                                                      : -1;
    });
    assert_int_equal(librarian.result, 1);
    const Seen broker = inside_of(Role::broker, [=](int) {
        const UniqueFd file(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM, 0));
        return socket && ::ftruncate(file.get(), 4096) == 0 && ::write(file.get(), "x", 1) == 1
                   ? a_thread()
                   : -1;
    });
    assert_int_equal(broker.result, 1);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_no_decoder_needs_kills),
        cmocka_unit_test(everything_else_is_refused_and_counted),
        cmocka_unit_test(whoever_blocks_the_count_is_killed),
        cmocka_unit_test(no_descriptor_but_the_channel_is_left),
        cmocka_unit_test(a_segment_of_another_cannot_be_written),
        cmocka_unit_test(a_workers_own_work_goes_on),
        cmocka_unit_test(memory_is_bounded_for_good),
        cmocka_unit_test(abort_ends_it_and_is_no_attempt),
        cmocka_unit_test(root_becomes_nobody),
        cmocka_unit_test(an_ordinary_user_gets_what_there_is),
        cmocka_unit_test(where_no_namespace_is_to_be_had_the_rest_still_holds),
        cmocka_unit_test(no_process_of_the_daemon_runs_programs_or_looks_into_others),
        cmocka_unit_test(librarian_and_broker_make_no_process_and_no_code),
        cmocka_unit_test(the_broker_opens_files_to_read_and_changes_none),
        cmocka_unit_test(who_may_open_files_opens_no_memory_of_another),
        cmocka_unit_test(the_librarian_works_on_files_and_the_broker_on_memory),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
