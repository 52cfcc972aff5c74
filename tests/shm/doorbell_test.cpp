#include "shm/doorbell.hpp"

#include <fcntl.h>

#include "base/unique_fd.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::UniqueFd;
using sonogate::shm::Bell;
using sonogate::shm::Index;
using sonogate::shm::Sleeper;

struct Pair {
    UniqueFd near;
    UniqueFd far;
};

Pair make_pair_of_sockets() {
    int fds[2];
    assert_int_equal(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

int bells_waiting(int socket) {
    int count = 0;
    char byte = 0;
    while (::recv(socket, &byte, 1, MSG_DONTWAIT) == 1) {
        ++count;
    }
    return count;
}

void a_peer_that_is_awake_is_not_rung(void**) {
    const Pair pair = make_pair_of_sockets();
    Index armed{0};
    Sleeper sleeper(armed);
    Bell bell(armed, pair.near.get());
    bell.ring_if_due();
    sleeper.arm();
    sleeper.disarm();
    bell.ring_if_due();
    assert_int_equal(bells_waiting(pair.far.get()), 0);
}

void one_sleep_is_rung_for_once(void**) {
    const Pair pair = make_pair_of_sockets();
    Index armed{0};
    Sleeper sleeper(armed);
    Bell bell(armed, pair.near.get());
    for (int night = 0; night < 3; ++night) {
        sleeper.arm();
        for (int i = 0; i < 100; ++i) {
            bell.ring_if_due();
        }
        assert_int_equal(bells_waiting(pair.far.get()), 1);
        sleeper.disarm();
    }
}

void arming_again_without_waking_asks_for_another_ring(void**) {
    const Pair pair = make_pair_of_sockets();
    Index armed{0};
    Sleeper sleeper(armed);
    Bell bell(armed, pair.near.get());
    sleeper.arm();
    bell.ring_if_due();
    sleeper.arm();
    assert_int_equal(armed.load() & 1U, 1);
    bell.ring_if_due();
    assert_int_equal(bells_waiting(pair.far.get()), 2);
}

void disarming_twice_does_not_arm(void**) {
    Index armed{0};
    Sleeper sleeper(armed);
    sleeper.disarm();
    assert_int_equal(armed.load() & 1U, 0);
    sleeper.arm();
    sleeper.disarm();
    sleeper.disarm();
    assert_int_equal(armed.load() & 1U, 0);
}

void ringing_never_blocks_though_the_socket_is_full(void**) {
    const Pair pair = make_pair_of_sockets();
    // Blocking on purpose: a peer may clear O_NONBLOCK of a description it shares with us.
    assert_int_equal(::fcntl(pair.near.get(), F_GETFL) & O_NONBLOCK, 0);
    Index armed{0};
    Sleeper sleeper(armed);
    Bell bell(armed, pair.near.get());
    for (int i = 0; i < 100'000; ++i) {
        sleeper.arm();
        bell.ring_if_due();
    }
    assert_true(bells_waiting(pair.far.get()) > 0);
}

void ringing_a_dead_peer_raises_no_signal(void**) {
    Pair pair = make_pair_of_sockets();
    Index armed{0};
    Sleeper sleeper(armed);
    Bell bell(armed, pair.near.get());
    pair.far.reset();
    sleeper.arm();
    bell.ring_if_due();  // SIGPIPE would end this program
    sleeper.arm();
    assert_true(bell.due());
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_is_awake_is_not_rung),
        cmocka_unit_test(one_sleep_is_rung_for_once),
        cmocka_unit_test(arming_again_without_waking_asks_for_another_ring),
        cmocka_unit_test(disarming_twice_does_not_arm),
        cmocka_unit_test(ringing_never_blocks_though_the_socket_is_full),
        cmocka_unit_test(ringing_a_dead_peer_raises_no_signal),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
