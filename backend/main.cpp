// sonogated: the daemon behind nginx. Read it top-down: options, roles, listen, serve, drain.
// `sonogated key`, `catalog` and `enrol` are commands of their own (commands.hpp), and start
// nothing.
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "broker/broker.hpp"
#include "broker/listener.hpp"
#include "broker/users.hpp"
#include "commands.hpp"
#include "librarian/run.hpp"
#include "log/log.hpp"
#include "sandbox/confinement.hpp"
#include "worker/run.hpp"
#include "worker/title.hpp"
#include "worker/zygote.hpp"

// Read by jemalloc at the start. What it frees it unmaps: addresses that it keeps for later count
// as data, and a worker that had one large job would have no room under its RLIMIT_DATA for
// another.
extern "C" {
const char* malloc_conf = "retain:false";
}

namespace {

using namespace sonogate;

struct Options {
    std::string socket;
    std::string state;
    std::string name = "main";
    std::string log_level = "info";
    std::string log_format = "text";
    std::vector<std::string> peer_users;
};

void declare(CLI::App& app, Options& options) {
    app.add_option("--socket", options.socket,
                   "Unix socket to listen on; left out where a service manager passes one");
    app.add_option("--state", options.state, "Folder of the catalog and of what is kept; required")
        ->check(CLI::ExistingDirectory);
    app.add_option("--name", options.name, "Name of the pool, for the log");
    app.add_option("--peer-user", options.peer_users,
                   "User that nginx's workers run as; root and our own user may always connect");
    app.add_option("--log-level", options.log_level,
                   "debug, info, warn or error, unless the pool has a log_level")
        ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
    app.add_option("--log-format", options.log_format, "text, or json: an object a line")
        ->envname("SONOGATE_LOG_FORMAT")
        ->check(CLI::IsMember({"text", "json"}));
    app.set_version_flag("--version", "sonogated " SONOGATE_VERSION);
}

void open_log(const Options& options) {
    log::open({.pool = options.name,
               .format = options.log_format == "json" ? log::Format::json : log::Format::text,
               .level = options.log_level});
}

// What the zygote's children become.
worker::Roles roles(worker::Operations& operations, const std::string& socket) {
    return {.worker =
                [&](shm::ChildChannel channel, std::uint32_t layers) {
                    return worker::run_worker(std::move(channel), layers, operations);
                },
            .librarian =
                [](UniqueFd channel, const worker::ForkRequest& request, std::uint32_t layers) {
                    return librarian::run_librarian(
                        std::move(channel),
                        {.store = {request.store.data(), request.store_bytes},
                         .search_threads = request.search_threads},
                        layers);
                },
            .farewell = [&] { broker::Listener::remove_abandoned(socket); }};
}

// SIGTERM and SIGINT as a descriptor, for the broker's loop.
UniqueFd stop_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGINT);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN);  // EFBIG says enough
    return UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// Each large upload and each link holds descriptors: take what the system allows.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int serve(const Options& options, broker::Listener listener, UniqueFd zygote, pid_t zygote_pid) {
    auto peers = broker::user_ids(options.peer_users);
    if (!peers) {
        spdlog::critical("--peer-user: no such user");
        return 2;
    }
    const std::uint32_t layers = sandbox::enter_as_broker();
    if (layers == 0) {
        spdlog::warn(
            "the broker runs without a filter of its system calls: refused by this system");
    }
    auto broker = broker::Broker::create({options.state, std::move(*peers), zygote_pid, layers},
                                         listener.take_socket(), std::move(zygote), stop_signals());
    if (!broker) {
        spdlog::critical("no event loop: {}", std::strerror(broker.failure().error));
        return 1;
    }
    spdlog::info("ready on {}", listener.name());
    return (*broker)->run();
}  // the zygote sees its socket close, ends the workers and waits for the librarian's commit

int run(int argc, char** argv) {
    Options options;
    CLI::App app("The audio backend behind ngx_http_sonogate_module.");
    declare(app, options);
    Commands commands(app);
    CLI11_PARSE(app, argc, argv);
    if (const auto status = commands.run()) {
        return *status;
    }
    if (options.state.empty()) {
        return app.exit(CLI::RequiredError("--state"));
    }
    open_log(options);
    worker::remember_arguments(argc, argv);

    // The zygote first: nothing that is made later may reach a child.
    std::array<int, 2> ends{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        spdlog::critical("no socket pair: {}", std::strerror(errno));
        return 1;
    }
    UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    const pid_t zygote = ::fork();
    if (zygote == 0) {
        worker::Operations operations;
        // Absolute, for the zygote leaves this folder.
        const std::string socket =
            options.socket.empty() ? "" : std::filesystem::absolute(options.socket).string();
        return worker::run_zygote(std::move(theirs), options.state, operations,
                                  roles(operations, socket));
    }
    theirs.reset();
    worker::set_title("broker");
    raise_descriptor_limit();

    auto listener = broker::Listener::open(options.socket);
    if (!listener) {
        spdlog::critical("cannot listen on {}: {}", options.socket,
                         std::strerror(listener.failure().error));
        return 1;
    }
    const int status = serve(options, std::move(*listener), std::move(ours), zygote);
    ::waitpid(zygote, nullptr, 0);
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& e) {
        spdlog::critical("{}", e.what());
        return 1;
    }
}
