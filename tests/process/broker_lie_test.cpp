// A broker that lies to nginx: in its welcome, its messages, its ring, its numbers. It ends that
// link; nginx goes on, makes the link again, and the client that waits is answered. Needs a module
// that a plain nginx can load, so there is nothing to do in a build with sanitizers.
#include <fcntl.h>
#include <sys/mman.h>

#include <cstdio>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "tests/process/far_end.hpp"
#include "tests/process/nginx.hpp"

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

std::string folder;
std::unique_ptr<FakeBroker> broker;
std::unique_ptr<Nginx> nginx;
std::unique_ptr<FarEnd> link;

int start(void**) {
    char path[] = "/tmp/sonogate-lie-XXXXXX";
    folder = ::mkdtemp(path);
    broker = std::make_unique<FakeBroker>(folder + "/s");
    nginx = std::make_unique<Nginx>(folder);
    link = broker->accept();
    return link && link->welcome() ? 0 : 1;
}

int finish(void**) {
    nginx.reset();
    link.reset();
    broker.reset();
    return std::system(("rm -rf " + folder).c_str());
}

std::future<std::string> ask(const char* path = "/v1/tracks") {
    return std::async(std::launch::async, [path] { return nginx->get(path); });
}

bool is_ok(const std::string& answer) {
    return answer.starts_with("HTTP/1.1 200") && answer.find("\"tracks\":[]") != std::string::npos;
}

// The link is made again, and does what links do.
void the_next_link_works(const char* lie) {
    link = broker->accept();
    if (!link || !link->welcome() || !nginx->runs()) {
        std::printf("after %s: no new link\n", lie);
        fail();
    }
}

void answer_honestly() {
    const auto job = link->take();
    assert_true(job.has_value());
    link->answer(link->honest(*job));
}

// As of a daemon that drains: the next one may have that job.
shm::Completion ask_again(FarEnd& end, const shm::Submission& job) {
    auto out = end.honest(job);
    out.status = 0;
    out.place = shm::ResultPlace::none;
    out.result_bytes = 0;
    out.failure.errc = static_cast<std::uint16_t>(Errc::draining);
    out.again = 1;
    return out;
}

struct Lie {
    const char* name;
    std::function<void(FarEnd&, const shm::Submission&)> tell;
};

// A completion with one thing changed.
Lie completion(const char* name, std::function<void(shm::Completion&)> change) {
    return {name, [change](FarEnd& end, const shm::Submission& job) {
                auto out = end.honest(job);
                change(out);
                end.answer(out);
            }};
}

// A file announced with that many bytes more than it has, and a completion that names it.
Lie file(const char* name, std::function<UniqueFd()> make, std::int64_t announced,
         std::int64_t told) {
    return {name, [=](FarEnd& end, const shm::Submission& job) {
                const UniqueFd result = make();
                const int fd = result.get();
                shm::ResultFile message{.token = 7};
                message.result_bytes = static_cast<std::uint64_t>(announced);
                (void)shm::send_message(end.socket.get(), message, {&fd, 1});
                auto out = end.honest(job);
                out.place = shm::ResultPlace::file;
                out.result_slot = 7;
                out.result_bytes = static_cast<std::uint64_t>(told);
                end.answer(out);
            }};
}

constexpr std::string_view good_result = "{\"tracks\":[]}";

UniqueFd finished() {
    return std::move(*shm::make_result_file(as_bytes(good_result)));
}
UniqueFd unsealed() {
    UniqueFd out(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    (void)!::write(out.get(), good_result.data(), good_result.size());
    return out;
}
UniqueFd no_memfd() {
    return UniqueFd(::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

template <typename T>
Lie message(const char* name, T content, int descriptors) {
    return {name, [=](FarEnd& end, const shm::Submission&) {
                const UniqueFd one = finished();
                const std::vector<int> fds(static_cast<std::size_t>(descriptors), one.get());
                end.send(as_bytes(content), fds);
            }};
}

void each_lie_of_a_link_ends_it_only(void**) {
    const auto size = static_cast<std::int64_t>(good_result.size());
    const std::vector<Lie> lies = {
        completion("no kind", [](auto& c) { c.kind = shm::CompletionKind::none; }),
        completion("a kind beyond", [](auto& c) { c.kind = shm::CompletionKind::count_; }),
        completion("an error beyond", [](auto& c) { c.failure.errc = 60'000; }),
        completion("a parameter beyond", [](auto& c) { c.failure.parameter = 60'000; }),
        completion("a status that is no success", [](auto& c) { c.status = 299; }),
        completion("a slot beyond", [](auto& c) { c.result_slot = shm::result_slots; }),
        completion("more than a slot has", [](auto& c) { c.result_bytes = 1U << 20U; }),
        completion("bytes beyond all numbers", [](auto& c) { c.result_bytes = UINT64_MAX; }),
        completion("no place for its bytes", [](auto& c) { c.place = shm::ResultPlace::none; }),
        completion("a place beyond", [](auto& c) { c.place = shm::ResultPlace::count_; }),
        completion("a file that never came", [](auto& c) { c.place = shm::ResultPlace::file; }),
        completion("a slot of a job that is none",
                   [](auto& c) {
                       c.job.generation += 1;
                       c.result_slot = UINT32_MAX;
                   }),
        file("an unsealed file", unsealed, size, size),
        file("a file that is no memfd", no_memfd, size, size),
        file("a file shorter than announced", finished, size + 1, size + 1),
        file("a file shorter than told", finished, size, size + 4096),
        message("a file without a descriptor", shm::ResultFile{.result_bytes = 13}, 0),
        message("a file with two", shm::ResultFile{.result_bytes = 13}, 2),
        message("more descriptors than any message has", shm::ResultFile{.result_bytes = 13}, 5),
        message("half a message", std::array<char, 7>{4}, 1),
        message("a message beyond all sizes", std::array<char, 8192>{}, 0),
        message("a second welcome", shm::Welcome{}, 0),
        message("a hello", shm::Hello{}, 1),
        message("a kind that is none", std::array<std::uint32_t, 4>{99}, 0),
        {"a ring index beyond what the ring has",
         [](FarEnd& end, const shm::Submission&) {
             end.down().completion_tail.store(shm::link_ring_entries + 2);
             end.ring();
         }},
        {"a ring index that went back",
         [](FarEnd& end, const shm::Submission&) {
             end.down().completion_tail.store(UINT32_MAX);
             end.ring();
         }},
        {"a socket that ends", [](FarEnd& end, const shm::Submission&) { end.hang_up(); }},
    };
    for (const Lie& lie : lies) {
        auto client = ask();
        const auto job = link->take();
        assert_true(job.has_value());
        lie.tell(*link, *job);
        if (!link->is_closed()) {
            std::printf("nginx believed %s\n", lie.name);
            fail();
        }
        the_next_link_works(lie.name);
        answer_honestly();
        const std::string answer = client.get();
        if (!is_ok(answer)) {
            std::printf("after %s: %s\n", lie.name, answer.c_str());
            fail();
        }
    }
}

// Jobs that it took are answered by the next.
void a_head_beyond_what_was_sent_ends_the_link(void**) {
    link->down().submission_head.store(5000);
    auto client = ask();
    assert_true(link->is_closed());
    the_next_link_works("a head beyond what was sent");
    answer_honestly();
    assert_true(is_ok(client.get()));
}

// Brokers that send it on and on, and one that is there for good and does so.
void who_is_told_to_ask_again_asks_the_next_and_not_for_ever(void**) {
    auto client = ask();
    for (int i = 0; i < 5; ++i) {
        const auto job = link->take();
        assert_true(job.has_value());
        link->answer(ask_again(*link, *job));
        link->hang_up();
        the_next_link_works("being told to ask again");
    }
    answer_honestly();
    assert_true(is_ok(client.get()));
    client = ask();
    const auto job = link->take();
    assert_true(job.has_value());
    link->answer(ask_again(*link, *job));
    link->answer(ask_again(*link, *job));
    const std::string answer = client.get();
    assert_true(answer.starts_with("HTTP/1.1 503"));
    assert_true(answer.find("/problems/draining") != std::string::npos);
}

struct Greeting {
    const char* name;
    std::function<void(FarEnd&)> say;
};

Greeting welcome(const char* name, std::function<void(shm::Welcome&)> change) {
    return {name, [change](FarEnd& end) {
                shm::Welcome out = end.honest_welcome();
                change(out);
                end.send(as_bytes(out), end.descriptors());
            }};
}

// … with other descriptors.
Greeting descriptors(const char* name, std::function<std::vector<int>(FarEnd&)> choose) {
    return {name, [choose](FarEnd& end) { end.send(as_bytes(end.honest_welcome()), choose(end)); }};
}

void each_lie_of_a_greeting_ends_it_only(void**) {
    const UniqueFd open_end = unsealed();
    const UniqueFd other = no_memfd();
    const std::vector<Greeting> greetings = {
        welcome("another magic", [](auto& w) { w.magic_number ^= 1U; }),
        welcome("another version", [](auto& w) { w.version += 1; }),
        welcome("no epoch", [](auto& w) { w.epoch = 0; }),
        welcome("a refusal with descriptors", [](auto& w) { w.errc = 1; }),
        welcome("a refusal beyond all errors", [](auto& w) { w.errc = UINT32_MAX; }),
        welcome("a cache without its descriptor", [](auto& w) { w.cache_bytes = 1U << 20U; }),
        welcome("another kind", [](auto& w) { w.kind = shm::MessageKind::hello; }),
        descriptors("no descriptors", [](FarEnd&) { return std::vector<int>{}; }),
        descriptors("one descriptor",
                    [](FarEnd& end) { return std::vector<int>{end.descriptors()[0]}; }),
        descriptors("swapped descriptors",
                    [](FarEnd& end) {
                        const auto fds = end.descriptors();
                        return std::vector<int>{fds[1], fds[0]};
                    }),
        descriptors("too many descriptors",
                    [](FarEnd& end) { return std::vector<int>(6, end.descriptors()[0]); }),
        descriptors("an unsealed segment",
                    [&](FarEnd& end) {
                        return std::vector<int>{open_end.get(), end.descriptors()[1]};
                    }),
        descriptors("a file for a segment",
                    [&](FarEnd& end) {
                        return std::vector<int>{end.descriptors()[0], other.get()};
                    }),
        {"a cache of an absurd size",
         [](FarEnd& end) {
             shm::Welcome out = end.honest_welcome();
             out.cache_bytes = UINT64_MAX;
             auto fds = end.descriptors();
             fds.push_back(fds[0]);
             end.send(as_bytes(out), fds);
         }},
        {"a segment with another header",
         [](FarEnd& end) {
             end.down().header.magic = 1;
             end.send(as_bytes(end.honest_welcome()), end.descriptors());
         }},
        {"half a welcome",
         [](FarEnd& end) {
             end.send(as_bytes(end.honest_welcome()).first(20), end.descriptors());
         }},
        {"a bell", [](FarEnd& end) { end.ring(); }},
        {"nothing, and hanging up", [](FarEnd& end) { end.hang_up(); }},
        {"nothing at all", [](FarEnd&) {}},  // ended by patience
    };
    for (const Greeting& greeting : greetings) {
        link->hang_up();
        link = broker->accept();
        assert_true(link != nullptr);
        greeting.say(*link);
        if (!link->is_closed()) {
            std::printf("nginx believed %s\n", greeting.name);
            fail();
        }
        the_next_link_works(greeting.name);
    }
    auto client = ask();
    answer_honestly();
    assert_true(is_ok(client.get()));
}

void what_is_odd_but_harmless_is_borne(void**) {
    const std::vector<Lie> oddities = {
        completion("a track id beyond its array", [](auto& c) { c.track_id.size = 65'535; }),
        completion("facts beyond all audio",
                   [](auto& c) {
                       c.audio.format = static_cast<shm::AudioFormat>(65'535);
                       c.audio.channels = 65'535;
                       c.audio.sample_rate_hz = UINT32_MAX;
                       c.audio.duration_ms = UINT64_MAX;
                   }),
        completion("times beyond all clocks",
                   [](auto& c) {
                       c.times = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
                   }),
        {"answers to jobs that do not exist",
         [](FarEnd& end, const shm::Submission& job) {
             for (std::uint32_t i = 1; i < 100; ++i) {
                 auto none = end.honest(job);
                 (i % 2 != 0 ? none.job.slot : none.job.generation) += i;
                 end.answer(none);
             }
             auto stranger = end.honest(job);
             stranger.job.epoch += 1;
             end.answer(stranger);
             auto grant = end.honest(job);
             grant.kind = shm::CompletionKind::admitted;
             grant.granted_bytes = UINT64_MAX;
             end.answer(grant);
             end.answer(end.honest(job));
         }},
        completion("a success that asks to ask again", [](auto& c) { c.again = 1; }),
        completion("a success that asks for what is nothing", [](auto& c) { c.again = 255; }),
        {"the answer after it was told to ask again",
         [](FarEnd& end, const shm::Submission& job) {
             end.answer(ask_again(end, job));
             end.answer(ask_again(end, job));
             end.answer(end.honest(job));
         }},
        {"words about the next broker for jobs that do not exist",
         [](FarEnd& end, const shm::Submission& job) {
             for (std::uint32_t i = 1; i < 100; ++i) {
                 auto none = ask_again(end, job);
                 (i % 2 != 0 ? none.job.slot : none.job.generation) += i;
                 end.answer(none);
             }
             end.answer(end.honest(job));
         }},
        {"the answer twice",
         [](FarEnd& end, const shm::Submission& job) {
             end.answer(end.honest(job));
             end.answer(end.honest(job));
         }},
        {"ten thousand bells",
         [](FarEnd& end, const shm::Submission& job) {
             for (int i = 0; i < 10'000; ++i) {
                 end.ring();
             }
             end.answer(end.honest(job));
         }},
    };
    for (const Lie& oddity : oddities) {
        auto client = ask();
        const auto job = link->take();
        assert_true(job.has_value());
        oddity.tell(*link, *job);
        const std::string answer = client.get();
        if (!is_ok(answer) || !nginx->runs()) {
            std::printf("at %s: %s\n", oddity.name, answer.c_str());
            fail();
        }
    }
}

void no_published_number_is_believed(void**) {
    shm::LinkDown& down = link->down();
    for (const std::uint64_t value : {UINT64_MAX, std::uint64_t{1} << 63U, std::uint64_t{0}}) {
        for (shm::Counter* counter :
             {&down.heartbeat_ns, &down.queue_depth, &down.expected_wait_us[0],
              &down.catalog_version, &down.catalog_tracks, &down.disk_free_bytes,
              &down.catalog_stamp}) {
            counter->store(value);
        }
        for (shm::Index* index : {&down.workers_ready, &down.workers_wanted, &down.librarian,
                                  &down.catalog, &down.daemon, &down.armed}) {
            index->store(static_cast<std::uint32_t>(value));
        }
        const std::string ready = nginx->get("/ready");
        assert_true(ready.starts_with("HTTP/1.1 200") || ready.starts_with("HTTP/1.1 503"));
        assert_true(ready.ends_with("}"));
        assert_true(nginx->get("/health").starts_with("HTTP/1.1 200"));
    }
    assert_true(nginx->runs());
}

void the_log_has_no_alert(void**) {
    const std::string log = nginx->log();
    for (const char* level : {"[alert]", "[crit]", "[emerg]"}) {
        const auto at = log.find(level);
        if (at != std::string::npos) {
            std::printf("%s\n", log.substr(at, 300).c_str());
            fail();
        }
    }
}

}  // namespace

int main() {
    if (std::string_view(SONOGATE_MODULE).empty()) {
        std::puts("no module that a plain nginx could load: nothing to do");
        return 0;
    }
    const CMUnitTest tests[] = {
        cmocka_unit_test(each_lie_of_a_link_ends_it_only),
        cmocka_unit_test(a_head_beyond_what_was_sent_ends_the_link),
        cmocka_unit_test(what_is_odd_but_harmless_is_borne),
        cmocka_unit_test(who_is_told_to_ask_again_asks_the_next_and_not_for_ever),
        cmocka_unit_test(each_lie_of_a_greeting_ends_it_only),
        cmocka_unit_test(no_published_number_is_believed),
        cmocka_unit_test(the_log_has_no_alert),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
