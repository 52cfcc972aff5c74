// Two processes on one link, either of which is killed at a random moment, thousands of times.
//
// The survivor must notice (EOF), must never block on a ring or a bell, and must account for every
// entry: what was published before the death is read once, in order and whole. Each process makes
// its own segment and hands it over, as the real ones do. A timer of the kernel (SIGKILL after a
// random number of microseconds) ends the victim, so that any instruction may be its last.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "shm/doorbell.hpp"
#include "shm/message.hpp"
#include "shm/ring.hpp"
#include "shm/segment.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using namespace sonogate::shm;

constexpr std::uint32_t entries = 16;
constexpr int rounds = 1500;
// Far longer than any victim lives: a wait this long is a lost wake-up.
constexpr int patience_ms = 10'000;

struct Entry {
    std::uint64_t number = 0;
    std::array<std::uint64_t, 15> proof{};
};

Entry entry_of(std::uint64_t number) {
    Entry entry{.number = number};
    for (std::size_t i = 0; i < entry.proof.size(); ++i) {
        entry.proof[i] = (number + 1) * 0x9e3779b97f4a7c15ULL + i;
    }
    return entry;
}

bool is_whole(const Entry& entry) {
    const Entry wanted = entry_of(entry.number);
    return std::memcmp(&entry, &wanted, sizeof(entry)) == 0;
}

// What one process writes: its end of an outgoing and of an incoming ring.
struct Side {
    alignas(64) Index tail;
    alignas(64) Index head;
    alignas(64) Index armed;
    alignas(64) Counter wrong;  // entries that came torn, twice or out of order
    alignas(64) Counter taken;  // entries handled by this process
    alignas(64) Entry slots[entries];
};

// One end of the link: own segment, the peer's mapped read-only.
class End {
  public:
    static std::optional<End> connect(UniqueFd socket) {
        auto own = OwnedSegment::create("sonogate-kill-test", sizeof(Side));
        if (!own) {
            return std::nullopt;
        }
        const int fds[] = {own->fd()};
        if (!send_message(socket.get(), SlabAdd{.segment_bytes = sizeof(Side)}, fds)) {
            return std::nullopt;
        }
        Message message;
        if (receive_message(socket.get(), message, true) != Received::message ||
            message.fd_count != 1) {
            return std::nullopt;
        }
        auto peer = map_peer_segment(message.fds[0].get(), sizeof(Side));
        if (!peer) {
            return std::nullopt;
        }
        return End(std::move(socket), std::move(*own), std::move(*peer));
    }

    Side& own() { return *own_.as<Side>(); }
    const Side& peer() const { return *reinterpret_cast<const Side*>(peer_.data()); }
    RingResult push(const Entry& entry) { return out_.push(entry); }
    RingResult pop(Entry& entry) { return in_.pop(entry); }
    void ring_if_due() { bell_.ring_if_due(); }
    bool dead() const { return peer_closed(socket_.get()); }

    struct Slept {
        bool waited = false;
        bool rung = false;
        bool closed = false;
        bool too_long = false;
    };

    // Sleeps until the bell or the end of the peer, by the protocol of shm/doorbell.hpp.
    Slept sleep() {
        Slept slept;
        sleeper_.arm();
        if (in_.empty()) {
            slept.waited = true;
            pollfd waiting{socket_.get(), POLLIN, 0};
            slept.too_long = ::poll(&waiting, 1, patience_ms) == 0;
        }
        sleeper_.disarm();
        Message message;
        for (;;) {
            const Received received = receive_message(socket_.get(), message, false);
            if (received != Received::message) {
                slept.closed = received == Received::closed;
                return slept;
            }
            slept.rung = true;
        }
    }

  private:
    End(UniqueFd socket, OwnedSegment own, Mapping peer)
        : socket_(std::move(socket)),
          own_(std::move(own)),
          peer_(std::move(peer)),
          out_(this->own().slots, this->own().tail, this->peer().head),
          in_(this->peer().slots, this->peer().tail, this->own().head),
          sleeper_(this->own().armed),
          bell_(this->peer().armed, socket_.get()) {}

    UniqueFd socket_;
    OwnedSegment own_;
    Mapping peer_;
    Producer<Entry, entries> out_;
    Consumer<Entry, entries> in_;
    Sleeper sleeper_;
    Bell bell_;
};

void die_after(std::uint32_t microseconds) {
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGKILL;
    timer_t timer{};
    ::timer_create(CLOCK_MONOTONIC, &event, &timer);
    itimerspec when{};
    when.it_value.tv_nsec = static_cast<long>(microseconds) * 1000 + 1;
    ::timer_settime(timer, 0, &when, nullptr);
}

struct Victim {
    pid_t pid = -1;
    std::optional<End> end;
};

// Starts a process that runs `work` on its end until the kernel kills it; gives the other end.
Victim start(std::uint32_t lifetime_us, const std::function<void(End&)>& work) {
    int fds[2];
    assert_int_equal(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    UniqueFd near(fds[0]);
    UniqueFd far(fds[1]);
    Victim victim;
    victim.pid = ::fork();
    assert_true(victim.pid >= 0);
    if (victim.pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        near.reset();
        auto end = End::connect(std::move(far));
        if (!end) {
            ::_exit(1);
        }
        die_after(lifetime_us);
        for (;;) {
            work(*end);
        }
    }
    far.reset();
    victim.end = End::connect(std::move(near));
    assert_true(victim.end.has_value());
    return victim;
}

void bury(const Victim& victim) {
    int status = 0;
    assert_int_equal(::waitpid(victim.pid, &status, 0), victim.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

unsigned chosen_seed() {
    const unsigned seed = std::random_device{}();
    print_message("seed %u\n", seed);
    return seed;
}

void nothing_published_is_lost_when_the_producer_is_killed(void**) {
    std::mt19937 random(chosen_seed());
    std::uint64_t total = 0;
    for (int round = 0; round < rounds; ++round) {
        Victim victim = start(static_cast<std::uint32_t>(random() % 800),
                              [next = std::uint64_t{0}](End& end) mutable {
                                  if (end.push(entry_of(next)) == RingResult::ok) {
                                      ++next;
                                  }
                                  end.ring_if_due();
                              });
        End& end = *victim.end;
        std::uint64_t seen = 0;
        for (bool closed = false; !closed;) {
            const End::Slept slept = end.sleep();
            assert_false(slept.too_long);
            closed = slept.closed;
            Entry entry;
            std::uint64_t drained = 0;
            while (end.pop(entry) == RingResult::ok) {
                assert_true(entry.number == seen && is_whole(entry));
                ++seen;
                ++drained;
            }
            // Dead without a bell: it died between push and ring, which leaves one entry, not two.
            assert_true(!slept.waited || !slept.closed || slept.rung || drained <= 1);
        }
        assert_int_equal(static_cast<std::uint32_t>(seen), end.peer().tail.load());
        total += seen;
        bury(victim);
    }
    print_message("%llu entries\n", static_cast<unsigned long long>(total));
    assert_true(total > 1000);
}

void a_producer_never_blocks_on_a_killed_consumer(void**) {
    std::mt19937 random(chosen_seed());
    std::uint64_t total = 0;
    for (int round = 0; round < rounds; ++round) {
        Victim victim = start(static_cast<std::uint32_t>(random() % 800), [](End& end) {
            Entry entry;
            while (end.pop(entry) == RingResult::ok) {
                const std::uint64_t taken = end.own().taken.load();
                end.own().wrong += entry.number != taken || !is_whole(entry) ? 1 : 0;
                end.own().taken = taken + 1;
            }
            (void)end.sleep();
        });
        End& end = *victim.end;
        std::uint64_t pushed = 0;
        const std::uint64_t start_ms = now_ms();
        while (!end.dead()) {
            if (end.push(entry_of(pushed)) == RingResult::ok) {
                ++pushed;
            }
            end.ring_if_due();
            assert_true(now_ms() - start_ms < patience_ms);
        }
        for (std::uint32_t i = 0; i < 2 * entries; ++i) {  // into a ring that nobody empties
            if (end.push(entry_of(pushed)) == RingResult::ok) {
                ++pushed;
            }
            end.ring_if_due();
        }
        const std::uint32_t head = end.peer().head.load();
        const std::uint64_t taken = end.peer().taken.load();
        assert_int_equal(end.peer().wrong.load(), 0);
        // It may die between release() and its own note, never further apart.
        assert_true(head == taken || head == taken + 1);
        assert_int_equal(pushed, std::uint64_t{head} + entries);
        total += taken;
        bury(victim);
    }
    print_message("%llu entries\n", static_cast<unsigned long long>(total));
    assert_true(total > 1000);
}

// The way of a job: submitted again to the next victim until one answers it.
void every_job_is_answered_once_though_its_servers_are_killed(void**) {
    std::mt19937 random(chosen_seed());
    std::vector<int> answers;
    std::vector<std::uint64_t> waiting;  // submitted, or to be submitted again
    int deaths = 0;
    for (; deaths < rounds; ++deaths) {
        Victim victim = start(static_cast<std::uint32_t>(random() % 800), [](End& end) {
            Entry entry;
            while (end.pop(entry) == RingResult::ok) {
                while (end.push(entry) == RingResult::none) {
                }
                end.ring_if_due();
            }
            (void)end.sleep();
        });
        End& end = *victim.end;
        std::size_t submitted = 0;
        for (bool closed = false; !closed;) {
            while (waiting.size() < entries) {
                waiting.push_back(answers.size());
                answers.push_back(0);
            }
            for (; submitted < waiting.size(); ++submitted) {
                assert_int_equal(end.push(entry_of(waiting[submitted])), RingResult::ok);
            }
            end.ring_if_due();
            const End::Slept slept = end.sleep();
            assert_false(slept.too_long);
            closed = slept.closed;
            Entry entry;
            while (end.pop(entry) == RingResult::ok) {
                assert_true(is_whole(entry) && submitted > 0 && entry.number == waiting.front());
                ++answers[entry.number];
                waiting.erase(waiting.begin());
                --submitted;
            }
        }
        bury(victim);
    }
    const std::size_t open = waiting.size();
    print_message("%d deaths, %zu jobs\n", deaths, answers.size());
    assert_true(answers.size() > 1000);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        assert_int_equal(answers[i], i + open < answers.size() ? 1 : 0);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(nothing_published_is_lost_when_the_producer_is_killed),
        cmocka_unit_test(a_producer_never_blocks_on_a_killed_consumer),
        cmocka_unit_test(every_job_is_answered_once_though_its_servers_are_killed),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
