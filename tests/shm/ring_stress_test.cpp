// Two threads, one ring, one doorbell: built with TSan it proves the orderings, without it that no
// wake-up is lost and no entry torn.
#include <poll.h>

#include <random>
#include <thread>

#include "base/unique_fd.hpp"
#include "shm/doorbell.hpp"
#include "shm/ring.hpp"

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
using sonogate::shm::Consumer;
using sonogate::shm::Index;
using sonogate::shm::Producer;
using sonogate::shm::RingResult;
using sonogate::shm::Sleeper;

struct Entry {
    std::uint64_t words[8];
};

constexpr std::uint32_t entries = 16;
constexpr std::uint64_t count = 300'000;

struct Shared {
    Entry slots[entries];
    Index tail{0};
    Index head{0};
    Index armed{0};
};

Entry entry_of(std::uint64_t number) {
    Entry entry;
    for (std::uint64_t i = 0; i < 8; ++i) {
        entry.words[i] = number * 0x9e3779b97f4a7c15ULL + i;
    }
    return entry;
}

bool is_entry(const Entry& entry, std::uint64_t number) {
    const Entry wanted = entry_of(number);
    return std::memcmp(&entry, &wanted, sizeof(entry)) == 0;
}

// Pushes everything; pauses now and then so that the consumer falls asleep.
void produce(Shared& shared, int socket, unsigned seed) {
    std::mt19937 random(seed);
    Producer<Entry, entries> producer(shared.slots, shared.tail, shared.head);
    Bell bell(shared.armed, socket);
    for (std::uint64_t i = 0; i < count;) {
        if (producer.push(entry_of(i)) != RingResult::ok) {
            bell.ring_if_due();
            std::this_thread::yield();
            continue;
        }
        ++i;
        if (random() % 4 != 0) {
            bell.ring_if_due();
        }
        if (random() % 512 == 0) {
            bell.ring_if_due();
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 50));
        }
    }
    bell.ring_if_due();
}

struct Seen {
    std::uint64_t good = 0;
    std::uint64_t wrong = 0;
    std::uint64_t sleeps = 0;
    std::uint64_t lost_wakeups = 0;
};

// Sleeps on the socket wherever the ring is empty, by the protocol of shm/doorbell.hpp.
Seen consume(Shared& shared, int socket) {
    Consumer<Entry, entries> consumer(shared.slots, shared.tail, shared.head);
    Sleeper sleeper(shared.armed);
    Seen seen;
    while (seen.good + seen.wrong < count) {
        Entry entry;
        if (consumer.pop(entry) == RingResult::ok) {
            (is_entry(entry, seen.good) ? seen.good : seen.wrong) += 1;
            continue;
        }
        sleeper.arm();
        if (consumer.empty()) {
            ++seen.sleeps;
            pollfd waiting{socket, POLLIN, 0};
            // The producer never pauses longer than 50 µs: 5 s without a bell is a lost one.
            if (::poll(&waiting, 1, 5000) == 0) {
                ++seen.lost_wakeups;
            }
            char byte = 0;
            while (::recv(socket, &byte, 1, MSG_DONTWAIT) == 1) {
            }
        }
        sleeper.disarm();
    }
    return seen;
}

void every_entry_arrives_whole_once_and_in_order(void**) {
    const unsigned seed = std::random_device{}();
    print_message("seed %u\n", seed);
    int fds[2];
    assert_int_equal(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    const UniqueFd near(fds[0]);
    const UniqueFd far(fds[1]);
    Shared shared;
    std::thread producer([&] { produce(shared, near.get(), seed); });
    const Seen seen = consume(shared, far.get());
    producer.join();
    print_message("%llu sleeps\n", static_cast<unsigned long long>(seen.sleeps));
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.good, count);
    assert_int_equal(seen.lost_wakeups, 0);
    assert_true(seen.sleeps > 10);  // else the doorbell was not tried at all
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_arrives_whole_once_and_in_order),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
