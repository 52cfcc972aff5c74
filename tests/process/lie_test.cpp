// What only a lying nginx worker would send: it ends that link, and no other one notices.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdio>
#include <functional>
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

Daemon* daemon_ = nullptr;
std::unique_ptr<LinkClient> good;

int start(void**) {
    daemon_ = new Daemon;
    good = LinkClient::open(daemon_->socket_path(), settings_with("sqlite:catalog.db"));
    return good ? 0 : 1;
}
int finish(void**) {
    good.reset();
    delete daemon_;
    return 0;
}

void the_good_link_works() {
    const auto job = good->job(shm::Endpoint::metrics, 0, 0, 0, 0);
    assert_true(good->push(job));
    const auto done = good->wait();
    assert_true(done && done->status == 200);
    (void)good->take_result(*done);
}

// The daemon's own descriptors and mappings, once it is idle.
void nothing_is_left(std::size_t descriptors, std::size_t mappings) {
    for (int i = 0; i < 200; ++i) {
        if (daemon_->descriptors() == descriptors && daemon_->mappings() == mappings) {
            return;
        }
        ::usleep(10'000);
    }
    std::printf("descriptors %zu, mappings %zu; were %zu, %zu\n", daemon_->descriptors(),
                daemon_->mappings(), descriptors, mappings);
    fail();
}

struct Lie {
    const char* name;
    std::function<void(LinkClient&)> tell;
};

// A submission with one thing changed.
Lie submission(const char* name, std::function<void(shm::Submission&)> change) {
    return {name, [change](LinkClient& link) {
                const std::uint32_t slab = link.add_slab(64U << 10U, true);
                auto job = link.job(shm::Endpoint::analyze, 0, slab, 0, 1000);
                change(job);
                link.push(job);
            }};
}

void each_lie_ends_its_link_only(void**) {
    the_good_link_works();
    const std::vector<Lie> lies = {
        submission("an op that is none", [](auto& s) { s.op = shm::Op::none; }),
        submission("an op beyond the last", [](auto& s) { s.op = static_cast<shm::Op>(999); }),
        submission("no endpoint", [](auto& s) { s.endpoint = shm::Endpoint::none; }),
        submission("an endpoint beyond the last",
                   [](auto& s) { s.endpoint = static_cast<shm::Endpoint>(999); }),
        submission("a body kind beyond the last",
                   [](auto& s) { s.body = static_cast<shm::BodyKind>(999); }),
        submission("another link's epoch", [](auto& s) { s.job.epoch ^= 1U; }),
        submission("a request id beyond its array", [](auto& s) { s.request_id.size = 129; }),
        submission("a track id beyond its array", [](auto& s) { s.track_id.size = 65535; }),
        submission("a slab that was never announced", [](auto& s) { s.slab = 77; }),
        submission("input without a slab", [](auto& s) { s.slab = 0; }),
        submission("more audio than the slab has", [](auto& s) { s.audio_bytes = 65537; }),
        submission("audio beyond all numbers", [](auto& s) { s.audio_bytes = UINT64_MAX; }),
        submission("more parameters than a slab has",
                   [](auto& s) { s.params_bytes = shm::slab_params_bytes + 1; }),
        submission("a need beyond reason",
                   [](auto& s) {
                       s.op = shm::Op::admit;
                       s.need_bytes = UINT64_MAX;
                   }),
        submission("an enrolment whose answer may be kept",
                   [](auto& s) {
                       s.endpoint = shm::Endpoint::track_create;
                       s.flags |= shm::submission_cacheable;
                   }),
        submission("a result slot that was not leased",
                   [](auto& s) {
                       s.op = shm::Op::release_result;
                       s.result_slot = 3;
                   }),
        submission("a result slot beyond the last",
                   [](auto& s) {
                       s.op = shm::Op::release_result;
                       s.result_slot = UINT32_MAX;
                   }),
        {"a ring index ahead of what was written",
         [](LinkClient& link) {
             link.up().submission_tail.store(shm::link_ring_entries + 1);
             const char bell = 0;
             (void)!::write(link.socket.get(), &bell, 1);
         }},
        {"one slab in two jobs",
         [](LinkClient& link) {
             const std::string wav = tone_wav(200, 100);
             const std::uint32_t slab = link.add_slab(wav.size(), true);
             link.fill(slab, "", wav);
             auto job = link.job(shm::Endpoint::analyze, 0, slab, 0, wav.size());
             link.push(job);
             job.job.slot = 1;
             job.slab_generation += 1;
             link.push(job);
         }},
        {"one use of a slab in two jobs",
         [](LinkClient& link) {
             const std::uint32_t slab = link.add_slab(64U << 10U, true);
             auto job = link.job(shm::Endpoint::analyze, 0, slab, 0, 1000);
             link.push(job);
             (void)link.wait();
             job.job.generation += 1;
             link.push(job);
         }},
        {"two jobs in one place",
         [](LinkClient& link) {
             const std::string wav = tone_wav(200, 100);
             for (int i = 0; i < 2; ++i) {
                 const std::uint32_t slab = link.add_slab(wav.size(), true);
                 link.fill(slab, "", wav);
                 link.push(link.job(shm::Endpoint::analyze, 0, slab, 0, wav.size()));
             }
         }},
        {"two tickets of one name",
         [](LinkClient& link) {
             auto admit = link.job(shm::Endpoint::analyze, 0, 0, 0, 0);
             admit.op = shm::Op::admit;
             admit.need_bytes = 100'000;
             link.push(admit);
             link.push(admit);
         }},
        {"a slab whose size is another",
         [](LinkClient& link) {
             auto segment = shm::OwnedSegment::create("x", 1U << 20U);
             const shm::SlabAdd add{.slab = 1, .segment_bytes = 2U << 20U, .warm = 1};
             const int fd = segment->fd();
             link.send(add, &fd);
         }},
        {"a slab too small for parameters",
         [](LinkClient& link) {
             auto segment = shm::OwnedSegment::create("x", 4096);
             const shm::SlabAdd add{.slab = 1, .segment_bytes = 4096, .warm = 1};
             const int fd = segment->fd();
             link.send(add, &fd);
         }},
        {"a warm slab beyond the bound",
         [](LinkClient& link) { link.add_slab(shm::warm_slab_audio_bytes + 1, true); }},
        {"a slab without seals",
         [](LinkClient& link) {
             const UniqueFd file(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
             (void)!::ftruncate(file.get(), 1U << 20U);
             const shm::SlabAdd add{.slab = 1, .segment_bytes = 1U << 20U, .warm = 0};
             const int fd = file.get();
             link.send(add, &fd);
         }},
        {"a slab that is a file of the disk",
         [](LinkClient& link) {
             const UniqueFd file(::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
             const shm::SlabAdd add{.slab = 1, .segment_bytes = 1U << 20U, .warm = 1};
             const int fd = file.get();
             link.send(add, &fd);
         }},
        {"a slab's number twice",
         [](LinkClient& link) {
             (void)link.add_slab(64U << 10U, true);
             link.next_slab -= 1;
             auto segment = shm::OwnedSegment::create("x", 1U << 20U);
             const shm::SlabAdd add{.slab = 1, .segment_bytes = 1U << 20U, .warm = 1};
             const int fd = segment->fd();
             link.send(add, &fd);
         }},
        {"a slab without its descriptor",
         [](LinkClient& link) {
             link.send(shm::SlabAdd{.slab = 1, .segment_bytes = 1U << 20U, .warm = 1}, nullptr);
         }},
        {"the end of a slab that never was",
         [](LinkClient& link) { link.send(shm::SlabDrop{.slab = 9}, nullptr); }},
        {"a second hello", [](LinkClient& link) { link.send(shm::Hello{}, nullptr); }},
        {"a packet that is none",
         [](LinkClient& link) { (void)!::write(link.socket.get(), "nonsense", 8); }},
    };
    assert_true(good->all_ready());
    const std::size_t descriptors = daemon_->descriptors();
    const std::size_t mappings = daemon_->mappings();
    for (const Lie& lie : lies) {
        auto link = LinkClient::open(daemon_->socket_path(), settings_with("sqlite:catalog.db"));
        assert_non_null(link.get());
        lie.tell(*link);
        if (!link->closed()) {
            std::printf("believed: %s\n", lie.name);
            fail();
        }
        the_good_link_works();
        link.reset();
    }
    assert_false(good->dead);
    nothing_is_left(descriptors, mappings);
}

void a_handshake_of_another_version_is_refused(void**) {
    const std::vector<std::function<void(shm::Hello&)>> changes = {[](auto& h) { h.magic_number ^= 1U; },
                                                                   [](auto& h) { h.version += 1; },
                                                                   [](auto& h) { h.link_up_bytes += 64; },
                                                                   [](auto& h) { h.link_down_bytes -= 64; },
                                                                   [](auto& h) { h.submission_bytes = 0; },
                                                                   [](auto& h) { h.completion_bytes = 1; },
                                                                   [](auto& h) { h.settings.queue_jobs = 0; },
                                                                   [](auto& h) { h.settings.catalog_bytes = 9999; },
                                                                   [](auto& h) { h.settings.workers = 100'000; }};
    for (const auto& change : changes) {
        const UniqueFd socket = connect_to(daemon_->socket_path());
        auto up = shm::OwnedSegment::create("x", sizeof(shm::LinkUp));
        shm::write_header(up->as<shm::LinkUp>()->header, sizeof(shm::LinkUp), 0);
        shm::Hello hello;
        hello.settings = settings_with("sqlite:catalog.db");
        change(hello);
        const int fd = up->fd();
        assert_true(static_cast<bool>(shm::send_message(socket.get(), hello, {&fd, 1})));
        shm::Message message;
        assert_true(shm::receive_message(socket.get(), message, true) == shm::Received::message);
        const auto welcome = message.as<shm::Welcome>(0);
        assert_true(welcome && welcome->errc != 0);
        assert_true(shm::receive_message(socket.get(), message, true) == shm::Received::closed);
    }
    the_good_link_works();
}

void a_segment_that_its_writer_could_shrink_is_refused(void**) {
    const UniqueFd socket = connect_to(daemon_->socket_path());
    const UniqueFd file(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    (void)!::ftruncate(file.get(), sizeof(shm::LinkUp));
    shm::Hello hello;
    hello.settings = settings_with("sqlite:catalog.db");
    const int fd = file.get();
    assert_true(static_cast<bool>(shm::send_message(socket.get(), hello, {&fd, 1})));
    shm::Message message;
    assert_true(shm::receive_message(socket.get(), message, true) == shm::Received::message);
    const auto welcome = message.as<shm::Welcome>(0);
    assert_true(welcome && welcome->errc != 0);
    the_good_link_works();
}

void a_catalog_outside_the_state_folder_is_refused_and_the_log_says_so(void**) {
    Errc why = Errc::ok;
    assert_null(
        LinkClient::open(daemon_->socket_path(), settings_with("sqlite:../out.db"), &why).get());
    assert_int_equal(static_cast<int>(why), static_cast<int>(Errc::forbidden));
    assert_true(daemon_->log().find("leaves the state folder") != std::string::npos);
    the_good_link_works();
}

void a_link_ahead_of_its_reader_keeps_every_answer(void**) {
    auto link = LinkClient::open(daemon_->socket_path(), settings_with("sqlite:catalog.db"));
    assert_non_null(link.get());
    // More answers than ring and result slots hold, none of them read.
    constexpr std::uint32_t jobs = 3000;
    std::uint32_t pushed = 0;
    const std::uint64_t until = now_ms() + 20'000;
    while (pushed < jobs && now_ms() < until) {
        auto job = link->job(pushed % 10 == 0 ? shm::Endpoint::metrics : shm::Endpoint::track_patch,
                             pushed, 0, 0, 0);
        job.flags = 0;  // refused at once: forbidden
        if (link->push(job)) {
            ++pushed;
        }
    }
    assert_int_equal(pushed, jobs);
    std::vector<int> seen(jobs, 0);
    for (std::uint32_t i = 0; i < jobs; ++i) {
        const auto done = link->wait();
        assert_true(done.has_value());
        ++seen.at(done->job.slot);
        if (done->status == 200) {
            assert_true(link->take_result(*done).find("sonogate_build_info") != std::string::npos);
        }
    }
    for (const int count : seen) {
        assert_int_equal(count, 1);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(each_lie_ends_its_link_only),
        cmocka_unit_test(a_handshake_of_another_version_is_refused),
        cmocka_unit_test(a_segment_that_its_writer_could_shrink_is_refused),
        cmocka_unit_test(a_catalog_outside_the_state_folder_is_refused_and_the_log_says_so),
        cmocka_unit_test(a_link_ahead_of_its_reader_keeps_every_answer),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
