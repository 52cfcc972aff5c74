#include "broker/departed.hpp"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using broker::Departed;

namespace {

// A process that does not end by itself, and dies with the test.
class Sleeper {
  public:
    Sleeper() : pid_(::fork()) {
        if (pid_ == 0) {
            ::alarm(60);
            ::pause();
            ::_exit(0);
        }
    }
    ~Sleeper() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;

    UniqueFd pidfd() const {
        return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    }
    bool lives() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }
    // The signal that ends it.
    int fate() {
        int status = 0;
        ::waitpid(pid_, &status, 0);
        pid_ = 0;
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }

  private:
    pid_t pid_;
};

void who_does_not_go_in_its_time_is_killed(void**) {
    Sleeper sleeper;
    Departed departed;
    departed.add(7, "worker 0", sleeper.pidfd(), 1000);
    departed.tick(999);
    assert_true(sleeper.lives());
    departed.tick(1000);
    assert_int_equal(sleeper.fate(), SIGKILL);
    assert_int_equal(departed.count(), 0);
}

void who_is_known_only_after_its_time_is_killed_then(void**) {
    Sleeper sleeper;
    Departed departed;
    departed.add(7, "worker 0", {}, 1000);
    departed.tick(5000);
    departed.born(8, sleeper.pidfd());  // a stranger
    departed.tick(5000);
    assert_true(sleeper.lives());
    departed.born(7, sleeper.pidfd());
    departed.tick(5000);
    assert_int_equal(sleeper.fate(), SIGKILL);
}

void who_died_is_forgotten(void**) {
    Sleeper sleeper;
    Departed departed;
    departed.add(7, "worker 0", sleeper.pidfd(), 1000);
    departed.died(7);
    departed.tick(5000);
    assert_true(sleeper.lives());
    for (std::uint64_t birth = 1; birth < 3 * Departed::most; ++birth) {
        departed.add(birth, "worker 0", {}, 1000);
    }
    assert_int_equal(departed.count(), Departed::most);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(who_does_not_go_in_its_time_is_killed),
        cmocka_unit_test(who_is_known_only_after_its_time_is_killed_then),
        cmocka_unit_test(who_died_is_forgotten),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
