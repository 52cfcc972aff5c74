#include "worker/zygote.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.hpp"
#include "sandbox/confinement.hpp"
#include "sandbox/namespaces.hpp"
#include "shm/message.hpp"
#include "worker/sha256.hpp"
#include "worker/title.hpp"
#include "worker/wisdom.hpp"

namespace sonogate::worker {

namespace {

constexpr int wake_each_ms = 1'000;  // a sign of life for the broker: broker/heartbeat.hpp
constexpr std::uint64_t librarian_patience_ms = 30'000;  // to commit after the broker is gone

struct Child {
    std::uint64_t birth = 0;
    Role role = Role::none;
};

// Children end by EOF of their channel; a terminal's Ctrl-C and a service manager's SIGTERM reach
// the whole group, and must not tear a worker away from a broker that drains.
// A write beyond a limit on file sizes fails with EFBIG, which says enough.
void ignore_signals() {
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) {
        ::signal(number, SIG_IGN);
    }
}

void close_all_but(int keep) {
    if (keep > STDERR_FILENO + 1) {
        ::close_range(STDERR_FILENO + 1, static_cast<unsigned>(keep) - 1, 0);
    }
    ::close_range(static_cast<unsigned>(keep) + 1, ~0U, 0);
}

UniqueFd child_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    return UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

class Zygote {
  public:
    Zygote(UniqueFd socket, const std::string& state_folder, const Roles& roles)
        : socket_(std::move(socket)),
          signals_(child_signals()),
          confinement_(state_folder),
          roles_(roles) {}

    int serve() {
        for (;;) {
            std::array<pollfd, 2> waits{{{socket_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}}};
            if (::poll(waits.data(), waits.size(), wake_each_ms) < 0 && errno != EINTR) {
                return 1;
            }
            reap();
            if (waits[0].revents == 0) {
                continue;
            }
            shm::Message message;
            const shm::Received received = shm::receive_message(socket_.get(), message, false);
            if (received == shm::Received::closed || received == shm::Received::lie) {
                return end_children();
            }
            if (received == shm::Received::message) {
                if (const auto status = fork_child(message)) {
                    return *status;
                }
            }
        }
    }

  private:
    // The child's exit status, in the child; nothing in the zygote.
    std::optional<int> fork_child(shm::Message& message) {
        if (const auto last = message.as<ForkRequest>(0); last && last->role == Role::none) {
            roles_.farewell();
            return std::nullopt;
        }
        const auto request = message.as<ForkRequest>(1);
        if (!request || request->store_bytes > store_bytes_max) {
            spdlog::error("zygote: a fork request that is none");
            return std::nullopt;
        }
        const pid_t zygote = ::getpid();
        std::uint32_t layers = 0;
        const pid_t pid = request->role == Role::worker ? sandbox::fork_apart(layers) : ::fork();
        if (pid == 0) {
            return become(*request, std::move(message.fds[0]), zygote, layers);
        }
        message.fds[0].reset();
        ForkReply reply{.birth = request->birth, .news = ForkNews::born, .pid = pid};
        if (pid < 0) {
            reply.news = ForkNews::failed;
            reply.status = errno;
            (void)shm::send_message(socket_.get(), reply);
            return std::nullopt;
        }
        children_[pid] = {request->birth, request->role};
        // Not reaped yet, so the number still means this child.
        const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        const int fd = handle.get();
        (void)shm::send_message(socket_.get(), reply, {&fd, handle ? 1U : 0U});
        return std::nullopt;
    }

    int become(const ForkRequest& request, UniqueFd channel, pid_t zygote, std::uint32_t layers) {
        socket_.reset();
        signals_.reset();
        sigset_t none;
        ::sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        // A worker never outlives the zygote, nor does a librarian that is still opening its store.
        ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        // 0: in a pid namespace of its own nobody is above it, and the channel's EOF has to do.
        if (const pid_t parent = ::getppid(); parent != zygote && parent != 0) {
            return 0;
        }
        if (request.nice != 0) {
            ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + request.nice);
        }
        if (request.role == Role::librarian) {
            set_title("librarian");
            layers = confinement_.enter_as_librarian();
            return roles_.librarian(std::move(channel), request, layers);
        }
        set_title("worker " + std::to_string(request.index));
        auto made = shm::ChildChannel::make(std::move(channel));
        if (!made) {
            spdlog::error("worker {}: no channel, errno {}", request.index, made.failure().error);
            return 1;
        }
        layers = confinement_.enter_as_worker(layers, made->descriptors(),
                                              {.job_memory_bytes = request.job_memory_bytes,
                                               .result_bytes = request.result_bytes,
                                               .upload_bytes = request.upload_bytes});
        return roles_.worker(std::move(*made), layers);
    }

    void reap() {
        signalfd_siginfo info{};
        while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
        }
        int status = 0;
        for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0;
             pid = ::waitpid(-1, &status, WNOHANG)) {
            const auto found = children_.find(pid);
            if (found == children_.end()) {
                continue;
            }
            const ForkReply reply{
                .birth = found->second.birth, .news = ForkNews::died, .pid = pid, .status = status};
            (void)shm::send_message(socket_.get(), reply);
            children_.erase(found);
        }
    }

    int end_children() {
        for (const auto& [pid, child] : children_) {
            if (child.role == Role::worker) {
                ::kill(pid, SIGKILL);  // ours and not reaped, so it is still this child
            }
        }
        const std::uint64_t until_ms = now_ms() + librarian_patience_ms;
        while (!children_.empty() && now_ms() < until_ms) {
            pollfd wait{signals_.get(), POLLIN, 0};
            ::poll(&wait, 1, 100);
            reap();
        }
        for (const auto& [pid, child] : children_) {
            ::kill(pid, SIGKILL);
        }
        return 0;
    }

    UniqueFd socket_;
    UniqueFd signals_;
    sandbox::Confinement confinement_;
    const Roles& roles_;
    std::map<pid_t, Child> children_;
};

}  // namespace

int run_zygote(UniqueFd socket, const std::string& state_folder, Operations& operations,
               const Roles& roles) {
    ignore_signals();
    close_all_but(socket.get());
    set_title("zygote");
    plan_common_transforms(state_folder, operations.plans());
    (void)sha256_hex({}, {});  // its library reads a configuration file first, and no worker could
    return Zygote(std::move(socket), state_folder, roles).serve();
}

}  // namespace sonogate::worker
