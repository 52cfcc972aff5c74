// Real processes, killed at random moments of the protocol, thousands of times: whoever is left
// goes on, every job that can be answered is answered exactly once, and nothing is left behind.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <array>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

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

constexpr int client_deaths = 3000;
constexpr int worker_deaths = 400;
constexpr int librarian_deaths = 60;
constexpr int daemon_deaths = 25;

std::mt19937 generator;

unsigned any_number() {
    return static_cast<unsigned>(generator());
}

int seed_random(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    generator.seed(seed);
    return 0;
}

std::unique_ptr<LinkClient> open_link(const Daemon& daemon) {
    return LinkClient::open(daemon.socket_path(), settings_with("sqlite:catalog.db"));
}

void wait_us(unsigned most) {
    ::usleep(any_number() % most);
}

// A slab of that upload, announced and filled.
std::uint32_t slab_of(LinkClient& link, const std::string& upload, bool warm) {
    const std::uint32_t slab = link.add_slab(warm ? (64U << 10U) : upload.size(), warm);
    link.fill(slab, "", upload);
    return slab;
}

// The life of an nginx worker that will die: jobs, tickets, cancellations, without an end.
[[noreturn]] void live(const std::string& path, const std::string& upload, unsigned seed) {
    std::mt19937 random(seed);
    auto link = LinkClient::open(path, settings_with("sqlite:catalog.db"));
    std::uint32_t slot = 0;
    while (link && !link->dead) {
        ++slot;
        const auto endpoint = std::array{shm::Endpoint::analyze, shm::Endpoint::identify,
                                         shm::Endpoint::track_list}[random() % 3];
        const bool has_body = endpoint != shm::Endpoint::track_list;
        const std::uint32_t slab = has_body ? slab_of(*link, upload, random() % 2 == 0) : 0;
        auto job = link->job(endpoint, slot, slab, 0, has_body ? upload.size() : 0);
        if (random() % 3 == 0) {
            auto admit = job;
            admit.op = shm::Op::admit;
            admit.need_bytes = 200'000'000;
            link->push(admit);
            job.flags |= shm::submission_has_ticket;
        }
        link->push(job);
        if (random() % 3 == 0) {
            job.op = shm::Op::cancel;
            link->push(job);
        }
        if (random() % 4 != 0) {
            if (const auto done = link->wait(5)) {
                (void)link->take_result(*done);
            }
        }
    }
    ::_exit(0);
}

void a_client_that_dies_anywhere_leaves_nothing(void**) {
    Daemon daemon;
    const std::string upload = tone_wav(0.5, 300);
    auto good = open_link(daemon);
    assert_non_null(good.get());
    assert_true(good->all_ready());
    const std::size_t descriptors = daemon.descriptors();
    const std::size_t mappings = daemon.mappings();
    const std::string path = daemon.socket_path();
    for (int i = 0; i < client_deaths; ++i) {
        const unsigned seed = any_number();
        const pid_t client = ::fork();
        if (client == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            live(path, upload, seed);
        }
        wait_us(6'000);
        ::kill(client, SIGKILL);
        ::waitpid(client, nullptr, 0);
        if (i % 50 == 0) {
            const auto job = good->job(shm::Endpoint::track_list, 1, 0, 0, 0);
            assert_true(good->push(job));
            const auto done = good->wait();
            assert_true(done && done->job == job.job);
            // The dead may have filled the queue a moment ago; nothing else may go wrong.
            const bool refused = done->failure.errc == static_cast<int>(Errc::overloaded);
            if (done->status != 200 && !refused) {
                std::printf("errc %d\n", done->failure.errc);
            }
            assert_true(done->status == 200 || refused);
            (void)good->take_result(*done);
        }
    }
    assert_true(good->all_ready());
    for (int i = 0;
         i < 500 && (daemon.descriptors() != descriptors || daemon.mappings() != mappings); ++i) {
        ::usleep(10'000);
    }
    assert_int_equal(daemon.descriptors(), descriptors);
    assert_int_equal(daemon.mappings(), mappings);
    assert_int_equal(daemon.workers().size(), 4);
    // Every ticket and every byte of upload memory came back.
    const auto job = good->job(shm::Endpoint::metrics, 1, 0, 0, 0);
    assert_true(good->push(job));
    const auto done = good->wait();
    assert_true(done.has_value());
    const std::string text = good->take_result(*done);
    assert_true(text.find("sonogate_upload_memory_bytes{state=\"used\"} 0\n") != std::string::npos);
    assert_true(text.find("sonogate_queue_depth 0\n") != std::string::npos);
    assert_true(text.find("sonogate_links 1\n") != std::string::npos);
}

// Sends jobs in rounds, kills in between, and counts answers; what each was is the caller's to
// judge.
struct Tally {
    std::map<int, int> codes;  // by Errc
    int answers = 0;
};

template <typename Kill>
Tally rounds(Daemon& daemon, int count, const std::vector<shm::Endpoint>& endpoints, Kill kill) {
    auto link = open_link(daemon);
    assert_non_null(link.get());
    assert_true(link->all_ready());
    const std::string upload = tone_wav(1.0, 300);
    std::array<std::uint32_t, 6> slabs{};
    for (auto& slab : slabs) {
        slab = slab_of(*link, upload, true);
    }
    Tally tally;
    for (int round = 0; round < count; ++round) {
        std::map<std::uint32_t, int> answered;
        for (std::uint32_t slot = 0; slot < slabs.size(); ++slot) {
            const auto endpoint = endpoints[any_number() % endpoints.size()];
            const bool warm = any_number() % 3 != 0;
            const std::uint32_t slab = warm ? slabs[slot] : slab_of(*link, upload, false);
            auto job = link->job(endpoint, slot, slab, 0, upload.size());
            LinkClient::set(job.track_id, "track-" + std::to_string(round % 5));
            assert_true(link->push(job));
            answered[slot] = 0;
        }
        wait_us(4'000);
        kill();
        for (std::size_t i = 0; i < slabs.size(); ++i) {
            const auto done = link->wait(20'000);
            if (!done) {
                std::printf("round %d: no answer\n%s\n", round, daemon.log().c_str());
            }
            assert_true(done.has_value());
            assert_int_equal(++answered.at(done->job.slot), 1);
            ++tally.codes[done->failure.errc];
            ++tally.answers;
            (void)link->take_result(*done);
        }
        while (link->slabs.size() > slabs.size()) {
            link->drop_slab(link->slabs.rbegin()->first);
        }
    }
    assert_false(link->wait(200).has_value());  // none twice
    assert_true(link->all_ready());
    for (const auto& [code, times] : tally.codes) {
        std::printf("%s: %d\n", problem_of(static_cast<Errc>(code)).type.data(), times);
    }
    return tally;
}

void a_worker_that_dies_anywhere_costs_at_most_a_retry(void**) {
    Daemon daemon;
    auto tally =
        rounds(daemon, worker_deaths, {shm::Endpoint::analyze, shm::Endpoint::fingerprint}, [&] {
            const auto workers = daemon.workers();
            if (!workers.empty()) {
                ::kill(workers[any_number() % workers.size()], SIGKILL);
            }
        });
    assert_int_equal(tally.answers, worker_deaths * 6);
    // One death a round, so a job crashes twice only where the death of the round before was still
    // on its way when it was handed over: seen once in 2400 jobs, 1 % is far beyond it.
    const int crashed = tally.codes[static_cast<int>(Errc::worker_crashed)];
    assert_int_equal(tally.codes[0] + crashed, tally.answers);
    assert_true(crashed <= tally.answers / 100);
}

void a_librarian_that_dies_anywhere_costs_a_wait(void**) {
    Daemon daemon;
    auto tally = rounds(daemon, librarian_deaths,
                        {shm::Endpoint::track_list, shm::Endpoint::identify,
                         shm::Endpoint::track_create, shm::Endpoint::track_delete},
                        [&] {
                            if (const pid_t librarian = daemon.librarian()) {
                                ::kill(librarian, SIGKILL);
                            }
                        });
    assert_int_equal(tally.answers, librarian_deaths * 6);
    for (const auto& [code, times] : tally.codes) {
        const auto errc = static_cast<Errc>(code);
        assert_true(errc == Errc::ok || errc == Errc::not_found || errc == Errc::too_short ||
                    errc == Errc::track_exists);
    }
}

void a_job_that_kills_every_worker_is_given_up(void**) {
    Daemon daemon;
    auto link = open_link(daemon);
    assert_non_null(link.get());
    assert_true(link->all_ready());
    const std::string upload = tone_wav(900, 300);
    const std::uint32_t slab = link->add_slab(upload.size(), false);
    link->fill(slab, "", upload);
    auto job = link->job(shm::Endpoint::analyze, 0, slab, 0, upload.size());
    assert_true(link->push(job));
    // Whoever has it is killed: the worker that uses the CPU.
    for (const std::uint64_t until = now_ms() + 60'000; now_ms() < until;) {
        for (const pid_t worker : daemon.workers()) {
            ::kill(worker, SIGKILL);
        }
        if (const auto done = link->wait(2)) {
            assert_int_equal(done->failure.errc, static_cast<int>(Errc::worker_crashed));
            assert_true(link->all_ready());
            return;
        }
    }
    fail();
}

void a_worker_that_stands_still_is_ended_at_the_deadline_and_on_cancel(void**) {
    Daemon daemon;
    auto settings = settings_with("sqlite:catalog.db", 1);
    settings.job_deadline_ms = 700;
    auto link = LinkClient::open(daemon.socket_path(), settings);
    assert_non_null(link.get());
    assert_true(link->all_ready());
    const std::string upload = tone_wav(1.0, 300);
    const std::uint32_t slab = slab_of(*link, upload, true);
    for (const bool by_cancel : {false, true}) {
        assert_true(link->all_ready());
        for (const pid_t worker : daemon.workers()) {
            ::kill(worker, SIGSTOP);
        }
        auto job = link->job(shm::Endpoint::analyze, 0, slab, 0, upload.size());
        const std::uint64_t begin = now_ms();
        assert_true(link->push(job));
        if (by_cancel) {
            ::usleep(20'000);
            job.op = shm::Op::cancel;
            assert_true(link->push(job));
        }
        const auto done = link->wait();
        assert_true(done.has_value());
        assert_int_equal(done->failure.errc,
                         static_cast<int>(by_cancel ? Errc::cancelled : Errc::deadline_exceeded));
        assert_true(now_ms() - begin < 2'000);
        for (const pid_t worker : daemon.workers()) {
            ::kill(worker, SIGCONT);
        }
        ::usleep(600'000);  // whoever stood still beyond its patience was ended, and is replaced
    }
    assert_true(link->all_ready());
    assert_true(link->push(link->job(shm::Endpoint::analyze, 0, slab, 0, upload.size())));
    const auto done = link->wait();
    assert_true(done && done->status == 200);
}

// As a worker does that was taken over: its end of the channel is closed, and it lives on.
void a_worker_that_closes_its_channel_and_stays_is_killed(void**) {
    Daemon daemon;
    auto link = open_link(daemon);
    assert_non_null(link.get());
    assert_true(link->all_ready());
    const pid_t worker = daemon.workers().front();
    const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, worker, 0)));
    ::kill(worker, SIGSTOP);  // or it would hear of it, and go
    bool closed = false;
    for (int fd = 3; fd < 64; ++fd) {
        const UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, handle.get(), fd, 0)));
        closed = (copy && ::shutdown(copy.get(), SHUT_RDWR) == 0) || closed;
    }
    if (!closed) {
        std::puts("this system lets nobody at another's descriptors: nothing to do");
        ::kill(worker, SIGKILL);
        return;
    }
    pollfd ended{handle.get(), POLLIN, 0};
    assert_int_equal(::poll(&ended, 1, 20'000), 1);
    assert_true(link->all_ready());
    assert_int_equal(daemon.workers().size(), 4);
}

// Enrols track after track over daemons that are killed; whatever was acknowledged stays.
void what_was_acknowledged_survives_the_death_of_everything(void**) {
    Daemon daemon;
    std::map<std::string, bool> acknowledged;
    for (int death = 0; death < daemon_deaths; ++death) {
        auto link = open_link(daemon);
        assert_non_null(link.get());
        assert_true(link->all_ready());
        for (const auto& [name, kept] : acknowledged) {
            auto get = link->job(shm::Endpoint::track_get, 0, 0, 0, 0);
            LinkClient::set(get.track_id, name);
            assert_true(link->push(get));
            const auto done = link->wait();
            if (!done || done->status != 200) {
                std::printf("%s is lost\n", name.c_str());
            }
            assert_true(done && done->status == 200);
            (void)link->take_result(*done);
        }
        acknowledged.clear();  // looked at once each: a daemon's start stays short
        for (int i = 0; i < 4; ++i) {
            const std::string upload = tone_wav(3.0, 200.0 + any_number() % 2000, any_number());
            const std::uint32_t slab = link->add_slab(upload.size(), false);
            link->fill(slab, "", upload);
            auto job = link->job(shm::Endpoint::track_create, static_cast<std::uint32_t>(i), slab,
                                 0, upload.size());
            const std::string name = std::to_string(death) + "-" + std::to_string(i);
            LinkClient::set(job.track_id, name);
            assert_true(link->push(job));
        }
        const std::uint64_t until = now_ns() + any_number() % 40'000'000;
        while (now_ns() < until) {
            if (const auto done = link->wait(1); done && done->status == 201) {
                acknowledged[std::to_string(death) + "-" + std::to_string(done->job.slot)] = true;
            }
        }
        const auto processes = daemon.processes();
        assert_int_equal(daemon.stop(SIGKILL), -SIGKILL);
        for (const auto& process : processes) {
            assert_true(Daemon::title(process.pid) != process.role);
        }
        assert_true(link->closed());
        daemon.start();
    }
    assert_int_equal(daemon.stop(SIGTERM), 0);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_dies_anywhere_leaves_nothing),
        cmocka_unit_test(a_worker_that_dies_anywhere_costs_at_most_a_retry),
        cmocka_unit_test(a_librarian_that_dies_anywhere_costs_a_wait),
        cmocka_unit_test(a_job_that_kills_every_worker_is_given_up),
        cmocka_unit_test(a_worker_that_stands_still_is_ended_at_the_deadline_and_on_cancel),
        cmocka_unit_test(a_worker_that_closes_its_channel_and_stays_is_killed),
        cmocka_unit_test(what_was_acknowledged_survives_the_death_of_everything),
    };
    return cmocka_run_group_tests(tests, seed_random, nullptr);
}
