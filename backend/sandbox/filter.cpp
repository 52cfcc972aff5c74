#include "sandbox/filter.hpp"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "base/unique_fd.hpp"

namespace sonogate::sandbox {

namespace {

using Calls = std::initializer_list<int>;

// What no process of the daemon ever does, not even the zygote.
const Calls never = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kcmp),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(mount),
    SCMP_SYS(pivot_root),
    SCMP_SYS(open_by_handle_at),
};
// What is the zygote's alone: to fork, and to make a child another user in other namespaces.
const Calls of_the_zygote = {
    SCMP_SYS(fork),     SCMP_SYS(vfork),     SCMP_SYS(unshare),   SCMP_SYS(setns),
    SCMP_SYS(chroot),   SCMP_SYS(setuid),    SCMP_SYS(setgid),    SCMP_SYS(setreuid),
    SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setgroups),
};
const Calls new_sockets = {
    SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind),
    SCMP_SYS(listen), SCMP_SYS(accept),     SCMP_SYS(accept4),
};
// What makes, changes or removes a name, or what the file system keeps of a file.
const Calls changes_of_files = {
    SCMP_SYS(creat),     SCMP_SYS(truncate),     SCMP_SYS(unlink),      SCMP_SYS(unlinkat),
    SCMP_SYS(rename),    SCMP_SYS(renameat),     SCMP_SYS(renameat2),   SCMP_SYS(link),
    SCMP_SYS(linkat),    SCMP_SYS(symlink),      SCMP_SYS(symlinkat),   SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),   SCMP_SYS(rmdir),        SCMP_SYS(mknod),       SCMP_SYS(mknodat),
    SCMP_SYS(chmod),     SCMP_SYS(fchmod),       SCMP_SYS(fchmodat),    SCMP_SYS(chown),
    SCMP_SYS(fchown),    SCMP_SYS(lchown),       SCMP_SYS(fchownat),    SCMP_SYS(utime),
    SCMP_SYS(utimes),    SCMP_SYS(futimesat),    SCMP_SYS(utimensat),   SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr), SCMP_SYS(fsetxattr),    SCMP_SYS(removexattr), SCMP_SYS(lremovexattr),
    SCMP_SYS(bind),      SCMP_SYS(fremovexattr),
};
// All that decoding, transforming and the channel take. Measured, not guessed: the tests run every
// format, and what is missing here is counted.
const Calls of_a_worker = {
    // the channel
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(poll),
    SCMP_SYS(ppoll), SCMP_SYS(sched_yield), SCMP_SYS(futex), SCMP_SYS(fstat), SCMP_SYS(fstatfs),
    SCMP_SYS(write), SCMP_SYS(close),
    // memory
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
    // time, chance, and what the machine is like
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(getrandom),
    SCMP_SYS(getrusage), SCMP_SYS(sched_getaffinity), SCMP_SYS(getpid), SCMP_SYS(gettid),
    // signals and the end
    SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit),
    SCMP_SYS(exit_group)};
// Asked for by abort() alone, and of no use: it ends by a fault then. Not counted as an attempt.
const Calls of_abort = {SCMP_SYS(tgkill), SCMP_SYS(tkill)};

#if defined(__x86_64__) || defined(__aarch64__)
constexpr std::uint32_t refused = SCMP_ACT_TRAP;
#else  // no way to answer the call from the handler: refused all the same, but not counted
constexpr std::uint32_t refused = SCMP_ACT_ERRNO(ENOSYS);
#endif

constexpr std::uint64_t int_bits = 0xffffffff;
// All that tells one kind of mapping from another; the rest says where, and how soon.
constexpr std::uint64_t kinds_of_mapping = 0x0f | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_HUGETLB;

constexpr int sent_by_filter = 1;  // si_code SYS_SECCOMP, which glibc 2.36 does not name

struct Refusals {
    std::atomic<std::uint64_t>* count;
    std::atomic<std::uint64_t>* last;
};
std::atomic<std::uint64_t> early_count{0};
std::atomic<std::uint64_t> early_last{0};
Refusals refusals{&early_count, &early_last};  // read by the handler of the one thread there is

// Where libsndfile looks for the resource fork of a file without a name, for any file that it does
// not know by its first bytes, as a CAF that is damaged. Who imitates it has gained nothing.
bool is_known(const char* path) noexcept {
    for (const char* known : {"/..namedfork/rsrc", "._", ".AppleDouble/"}) {
        if (path != nullptr && std::strcmp(path, known) == 0) {
            return true;
        }
    }
    return false;
}

void answer_refused_call(int, siginfo_t* info, void* context) {
    if (info->si_code != sent_by_filter) {
        return;
    }
    auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
    const auto second_argument = static_cast<std::uint64_t>(machine.gregs[REG_RSI]);
    machine.gregs[REG_RAX] = -ENOSYS;
#elif defined(__aarch64__)
    const std::uint64_t second_argument = machine.regs[1];
    machine.regs[0] = static_cast<std::uint64_t>(-ENOSYS);
#else
    const std::uint64_t second_argument = 0;
    (void)machine;
#endif
    if (info->si_syscall == SYS_openat &&
        is_known(reinterpret_cast<const char*>(second_argument))) {
        return;
    }
    // relaxed: figures to show.
    refusals.last->store(static_cast<unsigned>(info->si_syscall), std::memory_order_relaxed);
    refusals.count->fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

// A program in the making.
class Draft {
  public:
    explicit Draft(std::uint32_t otherwise) : context_(::seccomp_init(otherwise)) {
        note(context_ == nullptr ? -ENOMEM : 0);
        // Another architecture's calls have other numbers: nobody here makes any.
        note(::seccomp_attr_set(context_, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
        // A binary tree: a call's place in the lists costs nothing.
        note(::seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2));
    }
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;
    ~Draft() { ::seccomp_release(context_); }

    Draft& rule(std::uint32_t action, const Calls& calls) {
        for (const int call : calls) {
            note(::seccomp_rule_add_array(context_, action, call, 0, nullptr));
        }
        return *this;
    }
    Draft& rule(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> arguments) {
        note(::seccomp_rule_add_array(context_, action, call,
                                      static_cast<unsigned>(arguments.size()), arguments.begin()));
        return *this;
    }

    // Pages that can be run, mapped or made so.
    Draft& no_new_code() {
        for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect)}) {
            rule(SCMP_ACT_KILL_PROCESS, call, {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)});
        }
        return rule(SCMP_ACT_KILL_PROCESS, {SCMP_SYS(personality)});
    }

    // Threads, but no processes. The library asks for clone3 first, whose flags lie in memory where
    // nobody can judge them, and takes clone where there is none.
    Draft& threads_alone() {
        rule(SCMP_ACT_ERRNO(ENOSYS), {SCMP_SYS(clone3)});
        return rule(SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone),
                    {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)});
    }

    Result<Filter> compile() {
        if (error_ != 0) {
            return system_failure(error_);
        }
        const UniqueFd file(::memfd_create("filter", MFD_CLOEXEC));
        note(::seccomp_export_bpf(context_, file.get()));
        const off_t bytes = ::lseek(file.get(), 0, SEEK_END);
        Filter out;
        out.program_.resize(bytes > 0 ? static_cast<std::size_t>(bytes) / sizeof(sock_filter) : 0);
        if (error_ != 0 || bytes <= 0 ||
            ::pread(file.get(), out.program_.data(), static_cast<std::size_t>(bytes), 0) != bytes) {
            return system_failure(error_ != 0 ? error_ : EIO);
        }
        return out;
    }

  private:
    void note(int result) noexcept { error_ = error_ == 0 && result < 0 ? -result : error_; }

    scmp_filter_ctx context_;
    int error_ = 0;
};

Result<Filter> Filter::worker() {
    Draft draft(refused);
    draft.rule(SCMP_ACT_ALLOW, of_a_worker)
        .rule(SCMP_ACT_ERRNO(ENOSYS), of_abort)
        .rule(SCMP_ACT_KILL_PROCESS, never)
        .rule(SCMP_ACT_KILL_PROCESS, of_the_zygote)
        .rule(SCMP_ACT_KILL_PROCESS, new_sockets)
        .rule(SCMP_ACT_KILL_PROCESS, {SCMP_SYS(clone)})
        // Memory that RLIMIT_DATA counts, and segments of others to read.
        .rule(SCMP_ACT_ALLOW, SCMP_SYS(mmap),
              {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
               SCMP_A3(SCMP_CMP_MASKED_EQ, kinds_of_mapping, MAP_PRIVATE | MAP_ANONYMOUS)})
        .rule(SCMP_ACT_ALLOW, SCMP_SYS(mmap),
              {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, 0),
               SCMP_A3(SCMP_CMP_MASKED_EQ, kinds_of_mapping, MAP_SHARED)})
        .rule(SCMP_ACT_ALLOW, SCMP_SYS(mprotect),
              {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, 0)})
        .no_new_code()
        // abort() does. Whoever puts a handler of his own in the place of the one that counts is
        // killed: the number is an int, so only its lower half is looked at.
        .rule(SCMP_ACT_ALLOW, SCMP_SYS(rt_sigaction),
              {SCMP_A0(SCMP_CMP_MASKED_EQ, int_bits, SIGABRT)})
        .rule(SCMP_ACT_KILL_PROCESS, SCMP_SYS(rt_sigaction),
              {SCMP_A0(SCMP_CMP_MASKED_EQ, int_bits, SIGSYS)})
        // Results are made and sealed like this, and in no other way.
        .rule(SCMP_ACT_ALLOW, SCMP_SYS(memfd_create),
              {SCMP_A1(SCMP_CMP_EQ, MFD_CLOEXEC | MFD_ALLOW_SEALING)})
        .rule(SCMP_ACT_ALLOW, SCMP_SYS(fcntl), {SCMP_A1(SCMP_CMP_EQ, F_ADD_SEALS)})
        .rule(SCMP_ACT_ALLOW, SCMP_SYS(fcntl), {SCMP_A1(SCMP_CMP_EQ, F_GET_SEALS)});
    return draft.compile();
}

Result<Filter> Filter::librarian() {
    Draft draft(SCMP_ACT_ALLOW);
    draft.rule(SCMP_ACT_KILL_PROCESS, never)
        .rule(SCMP_ACT_KILL_PROCESS, of_the_zygote)
        .rule(SCMP_ACT_KILL_PROCESS, new_sockets)
        .threads_alone()
        .no_new_code();
    return draft.compile();
}

Result<Filter> Filter::broker() {
    Draft draft(SCMP_ACT_ALLOW);
    draft.rule(SCMP_ACT_KILL_PROCESS, never)
        .rule(SCMP_ACT_KILL_PROCESS, of_the_zygote)
        .threads_alone()
        .no_new_code()
        .rule(SCMP_ACT_KILL_PROCESS, SCMP_SYS(socket), {SCMP_A0(SCMP_CMP_NE, AF_UNIX)})
        .rule(SCMP_ACT_ERRNO(EACCES), {SCMP_SYS(open), SCMP_SYS(openat2)})
        .rule(SCMP_ACT_ERRNO(EACCES), changes_of_files);
    for (const unsigned bit : {O_WRONLY, O_RDWR, O_CREAT, O_TRUNC}) {  // O_TMPFILE has O_RDWR
        draft.rule(SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat),
                   {SCMP_A2(SCMP_CMP_MASKED_EQ, bit, bit)});
    }
    return draft.compile();
}

Result<Filter> Filter::zygote() {
    Draft draft(SCMP_ACT_ALLOW);
    draft.rule(SCMP_ACT_KILL_PROCESS, never);
    return draft.compile();
}

Result<void> Filter::load() const noexcept {
    const sock_fprog program{.len = static_cast<unsigned short>(program_.size()),
                             .filter = const_cast<sock_filter*>(program_.data())};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
        return system_failure(errno);
    }
    return {};
}

void count_refused_calls_in(std::atomic<std::uint64_t>& count,
                            std::atomic<std::uint64_t>& last) noexcept {
    last.store(early_last.load(std::memory_order_relaxed), std::memory_order_relaxed);
    count.store(early_count.load(std::memory_order_relaxed), std::memory_order_relaxed);
    refusals = {&count, &last};
}

void handle_refused_calls() noexcept {
    struct sigaction action {};
    action.sa_sigaction = answer_refused_call;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    ::sigaction(SIGSYS, &action, nullptr);
}

}  // namespace sonogate::sandbox
