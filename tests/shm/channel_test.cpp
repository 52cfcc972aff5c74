#include "shm/channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

using namespace sonogate;
using namespace sonogate::shm;

namespace {

struct Pair {
    UniqueFd broker;
    UniqueFd child;
};

Pair make_pair_of_sockets() {
    std::array<int, 2> ends{};
    assert_int_equal(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// A child process that runs `life` on its end, as the zygote's children do.
pid_t fork_child(Pair& pair, const std::function<int(UniqueFd)>& life) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        pair.broker.reset();
        ::_exit(life(std::move(pair.child)));
    }
    pair.child.reset();
    return pid;
}

// Answers each job with its body reversed.
int reverser(UniqueFd socket) {
    auto channel = ChildChannel::open(std::move(socket));
    if (!channel) {
        return 1;
    }
    ReceivedJob received;
    while (channel->next(received)) {
        std::vector<std::byte> out(received.body.rbegin(), received.body.rend());
        out.insert(out.end(), received.params.begin(), received.params.end());
        JobDone done;
        done.number = received.job.number;
        done.status = 200;
        if (!channel->complete(done, out)) {
            return 2;
        }
    }
    return 0;
}

bool wait_for(const BrokerChannel& channel) {
    pollfd ready{channel.socket(), POLLIN, 0};
    return ::poll(&ready, 1, 5000) == 1;
}

BrokerChannel open_broker(Pair& pair) {
    auto channel = BrokerChannel::open(std::move(pair.broker));
    assert_true(static_cast<bool>(channel));
    while (!channel->connected() && wait_for(*channel)) {
        if (channel->receive() != Received::message) {
            break;
        }
    }
    assert_true(channel->connected());
    return std::move(*channel);
}

// The next answer's bytes, wherever they travelled.
std::string next_answer(BrokerChannel& channel, std::uint64_t& number) {
    ChannelAnswer answer;
    for (;;) {
        channel.arm();
        const RingResult result = channel.peek(answer);
        if (result == RingResult::ok) {
            break;
        }
        assert_true(result == RingResult::none);
        assert_true(wait_for(channel));
        assert_true(channel.receive() == Received::message);
    }
    channel.disarm();
    number = answer.entry.number;
    std::string out(answer.entry.result_bytes, '\0');
    if (answer.file) {
        assert_int_equal(::pread(answer.file.get(), out.data(), out.size(), 0), out.size());
    } else if (!out.empty()) {
        std::memcpy(out.data(), answer.bytes.data(), out.size());
    }
    channel.release(number);
    return out;
}

std::string reversed(const std::string& body, const std::string& params) {
    return std::string(body.rbegin(), body.rend()) + params;
}

void jobs_and_answers_of_every_size_come_through(void**) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    Pair pair = make_pair_of_sockets();
    const pid_t pid = fork_child(pair, reverser);
    {
        BrokerChannel channel = open_broker(pair);
        std::vector<std::pair<std::string, std::string>> sent;
        std::uint64_t answered = 0;
        const std::array<std::size_t, 7> sizes{
            0, 1, 4096, 70'000, channel_result_bytes, channel_result_bytes + 1, 5'000'000};
        while (answered < 2000) {
            if (sent.size() < 2000) {
                const std::size_t most = sizes[random() % (random() % 20 == 0 ? 7 : 4)];
                std::string body(most == 0 ? 0 : most - random() % most, 'x');
                for (std::size_t i = 0; i < body.size(); i += 97) {
                    body[i] = static_cast<char>(random());
                }
                const std::string params(random() % 100, 'p');
                Job job;
                job.number = sent.size() + 1;
                if (channel.submit(job, as_bytes_of(params), as_bytes_of(body))) {
                    sent.emplace_back(body, params);
                    channel.ring();
                    continue;
                }
            }
            std::uint64_t number = 0;
            const std::string answer = next_answer(channel, number);
            assert_int_equal(number, ++answered);
            assert_true(answer == reversed(sent[number - 1].first, sent[number - 1].second));
            sent[number - 1] = {};
            sent[number - 1].first.shrink_to_fit();
        }
        assert_int_equal(channel.in_flight(), 0);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);  // EOF ends it
}

void a_large_input_is_handed_on_as_a_descriptor(void**) {
    Pair pair = make_pair_of_sockets();
    const pid_t pid = fork_child(pair, reverser);
    {
        BrokerChannel channel = open_broker(pair);
        auto slab = OwnedSegment::create("test", slab_audio_offset + 3'000'000);
        assert_true(static_cast<bool>(slab));
        const std::string body(3'000'000, 'b');
        std::memcpy(slab->data(), "params", 6);
        std::memcpy(slab->data() + slab_audio_offset, body.data(), body.size());
        Job job;
        job.number = 5;
        job.params_bytes = 6;
        job.body_offset = slab_audio_offset;
        job.body_bytes = body.size();
        for (int i = 0; i < 20; ++i) {
            assert_true(static_cast<bool>(channel.submit_file(job, slab->fd(), slab->size())));
            channel.ring();
            std::uint64_t number = 0;
            assert_true(next_answer(channel, number) == reversed(body, "params"));
        }
    }
    ::waitpid(pid, nullptr, 0);
}

void what_the_arena_cannot_hold_is_refused_and_what_waits_is_told(void**) {
    Pair pair = make_pair_of_sockets();
    const pid_t pid = fork_child(pair, [](UniqueFd socket) {
        auto channel = ChildChannel::open(std::move(socket));
        ReceivedJob received;
        char byte = 0;
        while (::recv(channel->socket(), &byte, 1, 0) > 0) {  // takes nothing
        }
        return 0;
    });
    {
        BrokerChannel channel = open_broker(pair);
        const std::vector<std::byte> large(channel_arena_bytes + 1);
        Job job;
        job.number = 1;
        assert_int_equal(static_cast<int>(channel.submit(job, {}, large).failure().code),
                         static_cast<int>(Errc::job_too_large));
        const Bytes half(large.data(), channel_arena_bytes / 2);
        assert_true(static_cast<bool>(channel.submit(job, {}, half)));
        job.number = 2;
        assert_true(static_cast<bool>(channel.submit(job, {}, half)));
        job.number = 3;
        assert_int_equal(static_cast<int>(channel.submit(job, {}, {}).failure().code),
                         static_cast<int>(Errc::overloaded));
    }
    ::waitpid(pid, nullptr, 0);
}

// What a child that was taken over could write into its own segment.
void whatever_a_child_claims_is_checked(void**) {
    using Lie = std::function<void(ChannelOut&, JobDone&)>;
    const std::vector<Lie> lies = {
        [](ChannelOut&, JobDone& done) { done.number = 99; },
        [](ChannelOut&, JobDone& done) { done.result_bytes = 1; },
        [](ChannelOut&, JobDone& done) {
            done.place = ResultPlace::slot;
            done.result_bytes = channel_result_bytes + 1;
        },
        [](ChannelOut&, JobDone& done) {
            done.place = ResultPlace::file;
            done.result_bytes = 10;
        },
        [](ChannelOut&, JobDone& done) { done.place = static_cast<ResultPlace>(77); },
        [](ChannelOut&, JobDone& done) { done.failure.errc = errc_count; },
        [](ChannelOut&, JobDone& done) { done.failure.parameter = parameter_count; },
        [](ChannelOut&, JobDone& done) { done.audio.format = AudioFormat::count_; },
        [](ChannelOut&, JobDone& done) { done.track_id.size = text_bytes + 1; },
        [](ChannelOut& out, JobDone&) { out.done_tail.store(channel_ring_entries + 1); },
    };
    for (std::size_t i = 0; i < lies.size(); ++i) {
        Pair pair = make_pair_of_sockets();
        const pid_t pid = fork_child(pair, [&](UniqueFd socket) {
            auto channel = ChildChannel::open(std::move(socket));
            ReceivedJob received;
            if (!channel || !channel->next(received)) {
                return 1;
            }
            JobDone done;
            done.number = received.job.number;
            done.status = 200;
            auto& out = channel->published();
            lies[i](out, done);
            if (out.done_tail.load() == 0) {
                out.done[0] = done;
                out.done_tail.store(1);
            }
            channel->announce();
            return channel->next(received) ? 1 : 0;
        });
        {
            BrokerChannel channel = open_broker(pair);
            Job job;
            job.number = 1;
            assert_true(static_cast<bool>(channel.submit(job, {}, {})));
            channel.ring();
            ChannelAnswer answer;
            RingResult result = RingResult::none;
            while (result == RingResult::none && wait_for(channel)) {
                (void)channel.receive();
                result = channel.peek(answer);
            }
            if (result != RingResult::lie) {
                std::printf("lie %zu was believed\n", i);
            }
            assert_true(result == RingResult::lie);
        }
        ::waitpid(pid, nullptr, 0);
    }
}

void an_unsealed_result_file_is_a_lie(void**) {
    for (const bool sealed : {false, true}) {
        Pair pair = make_pair_of_sockets();
        const pid_t pid = fork_child(pair, [&](UniqueFd socket) {
            auto channel = ChildChannel::open(std::move(socket));
            const UniqueFd file(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
            (void)!::ftruncate(file.get(), 100);
            if (sealed) {
                ::fcntl(file.get(), F_ADD_SEALS, finished_seals);
            }
            const ResultFile message{.token = 1, .result_bytes = 100};
            const int fd = file.get();
            (void)send_message(channel->socket(), message, {&fd, 1});
            ReceivedJob received;
            return channel->next(received) ? 1 : 0;
        });
        {
            BrokerChannel channel = open_broker(pair);
            assert_true(wait_for(channel));
            assert_true(channel.receive() == (sealed ? Received::message : Received::lie));
        }
        ::waitpid(pid, nullptr, 0);
    }
}

void a_cancelled_job_is_asked_to_stop_and_so_is_one_whose_broker_died(void**) {
    for (const bool by_death : {false, true}) {
        Pair pair = make_pair_of_sockets();
        const pid_t pid = fork_child(pair, [](UniqueFd socket) {
            auto channel = ChildChannel::open(std::move(socket));
            ReceivedJob received;
            if (!channel->next(received)) {
                return 1;
            }
            const std::uint64_t until = now_ms() + 5000;
            while (!channel->stop_requested(received.job)) {
                if (now_ms() > until) {
                    return 2;
                }
            }
            return 0;
        });
        {
            BrokerChannel channel = open_broker(pair);
            Job job;
            job.number = 42;
            assert_true(static_cast<bool>(channel.submit(job, {}, {})));
            channel.ring();
            ::usleep(10'000);
            if (!by_death) {
                channel.cancel(42);
                int status = 0;
                ::waitpid(pid, &status, 0);
                assert_int_equal(WEXITSTATUS(status), 0);
                continue;
            }
        }
        int status = 0;
        ::waitpid(pid, &status, 0);
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(jobs_and_answers_of_every_size_come_through),
        cmocka_unit_test(a_large_input_is_handed_on_as_a_descriptor),
        cmocka_unit_test(what_the_arena_cannot_hold_is_refused_and_what_waits_is_told),
        cmocka_unit_test(whatever_a_child_claims_is_checked),
        cmocka_unit_test(an_unsealed_result_file_is_a_lie),
        cmocka_unit_test(a_cancelled_job_is_asked_to_stop_and_so_is_one_whose_broker_died),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
