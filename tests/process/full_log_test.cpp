// Nobody reads the daemon's log: a stopped reader at the other end of a pipe, a journal that is
// stuck. The service goes on, and says afterwards how much was not written.
#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <string>

#include "tests/process/daemon.hpp"
#include "tests/process/link_client.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using namespace sonogate::tests;

namespace {

struct Ends {
    UniqueFd read;
    UniqueFd write;
};

Ends pipe_ends() {
    std::array<int, 2> ends{-1, -1};
    assert_int_equal(::pipe2(ends.data(), O_CLOEXEC), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Ends socket_ends() {
    std::array<int, 2> ends{-1, -1};
    assert_int_equal(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// As full as its reader leaves it, and as blocking as it was made.
void fill(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    const std::string much(4096, 'x');
    while (::write(fd, much.data(), much.size()) > 0) {
    }
    while (::write(fd, much.data(), 1) > 0) {
    }
    ::fcntl(fd, F_SETFL, flags);
}

std::string metrics_of(LinkClient& link) {
    const auto job = link.job(shm::Endpoint::metrics, 0, 0, 0, 0);
    assert_true(link.push(job));
    const auto done = link.wait();
    assert_true(done && done->status == 200);
    return link.take_result(*done);
}

std::uint64_t dropped(LinkClient& link) {
    const std::string text = metrics_of(link);
    const std::string name = "\nsonogate_log_lines_dropped_total ";
    const auto at = text.find(name);
    assert_true(at != std::string::npos);
    return std::stoull(text.substr(at + name.size()));
}

// Comes and goes, which is logged, until the log has that; gives all that it has by then.
std::string read_until(int fd, std::string_view wanted, const Daemon& daemon) {
    std::string out;
    std::array<char, 65536> part{};
    const std::uint64_t until = now_ms() + 20'000;
    while (out.find(wanted) == std::string::npos && now_ms() < until) {
        pollfd ready{fd, POLLIN, 0};
        if (::poll(&ready, 1, 0) == 1) {
            const ssize_t n = ::read(fd, part.data(), part.size());
            out.append(part.data(), n > 0 ? static_cast<std::size_t>(n) : 0U);
        } else {
            (void)LinkClient::open(daemon.socket_path(), settings_with("sqlite:catalog.db"));
        }
    }
    return out;
}

void the_service_goes_on(const Ends& ends) {
    fill(ends.write.get());
    Daemon daemon(ends.write.get());
    auto link = LinkClient::open(daemon.socket_path(), settings_with("sqlite:catalog.db"));
    assert_non_null(link.get());
    assert_true(link->all_ready());
    const std::string upload = tone_wav(0.5, 300);
    const std::uint32_t slab = link->add_slab(upload.size(), true);
    link->fill(slab, "", upload);
    for (int i = 0; i < 20; ++i) {
        assert_true(link->push(link->job(shm::Endpoint::analyze, 0, slab, 0, upload.size())));
        const auto done = link->wait();
        assert_true(done && done->status == 200);
        (void)link->take_result(*done);
    }
    assert_true(dropped(*link) > 20);
    // What others have of that descriptor is as it was.
    assert_int_equal(::fcntl(ends.write.get(), F_GETFL) & O_NONBLOCK, 0);
    const std::string log = read_until(ends.read.get(), " lines were not written", daemon);
    assert_true(log.find("warning main[broker] ") != std::string::npos);
    assert_int_equal(daemon.stop(SIGTERM), 0);
}

void a_full_pipe_stops_nobody(void**) {
    the_service_goes_on(pipe_ends());
}

void a_full_socket_stops_nobody(void**) {
    the_service_goes_on(socket_ends());
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_full_pipe_stops_nobody),
        cmocka_unit_test(a_full_socket_stops_nobody),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
