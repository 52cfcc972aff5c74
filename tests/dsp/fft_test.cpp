// Transforms where memory is short: FFTW would end the process.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <new>

#include "dsp/fft.hpp"
#include "dsp/mean_spectrum.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate::dsp;

namespace {

// As RLIMIT_DATA counts them.
std::uint64_t data_bytes() {
    unsigned long pages = 0;
    std::FILE* const file = std::fopen("/proc/self/statm", "r");
    assert_int_equal(std::fscanf(file, "%*u %*u %*u %*u %*u %lu", &pages), 1);
    std::fclose(file);
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

enum Outcome { made = 0, no_memory = 1, died = 2 };

Outcome plan_within(std::uint64_t more_bytes, std::size_t n) {
    const pid_t child = ::fork();
    if (child == 0) {
        const rlimit limit{data_bytes() + more_bytes, RLIM_INFINITY};
        ::setrlimit(RLIMIT_DATA, &limit);
        int outcome = made;
        try {
            RealFft(n, RealFft::Effort::estimate).run();
        } catch (const std::bad_alloc&) {
            outcome = no_memory;
        }
        ::_exit(outcome);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? static_cast<Outcome>(WEXITSTATUS(status)) : died;
}

void whatever_memory_is_left_the_process_lives(void**) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();  // whose own allocators end the process
#endif
    for (const std::size_t wanted : {32'768, 222'264, 1'000'000, 2'097'152}) {
        const std::size_t n = good_fft_size(wanted);
        const std::uint64_t enough_bytes = n * 20 + (16U << 20U);
        constexpr int steps = 40;
        bool seen[2] = {false, false};
        for (int step = 0; step <= steps; ++step) {
            const Outcome outcome = plan_within(enough_bytes / steps * step, n);
            if (outcome == died) {
                fail_msg("%zu samples, step %d", n, step);
            }
            seen[outcome] = true;
        }
        assert_true(seen[made] && seen[no_memory]);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(whatever_memory_is_left_the_process_lives),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
