// The result cache between real processes: who is answered by whose job, and what a lying nginx
// worker can do to it.
#include <signal.h>

#include <cstdio>
#include <memory>
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

constexpr std::uint64_t cache_bytes = 8U << 20U;

std::unique_ptr<LinkClient> open_link(const Daemon& daemon) {
    auto settings = settings_with("sqlite:catalog.db");
    settings.result_cache_bytes = cache_bytes;
    settings.result_cache_ttl_ms = 60'000;
    auto link = LinkClient::open(daemon.socket_path(), settings);
    assert_non_null(link.get());
    assert_true(static_cast<bool>(link->cache_mapping));
    return link;
}

// An analysis of what lies in a slab, under a key.
shm::Submission keyed(LinkClient& link, std::uint32_t slot, const std::string& wav,
                      std::uint64_t key) {
    const std::uint32_t slab = link.add_slab(wav.size(), true);
    link.fill(slab, "", wav);
    auto out = link.job(shm::Endpoint::analyze, slot, slab, 0, wav.size());
    out.flags |= shm::submission_cacheable;
    out.cache_key = {key, ~key};
    return out;
}

std::uint64_t metric(LinkClient& link, const std::string& name) {
    assert_true(link.push(link.job(shm::Endpoint::metrics, 99, 0, 0, 0)));
    const auto done = link.wait();
    assert_true(done.has_value());
    const std::string text = link.take_result(*done);
    const auto at = text.find("\n" + name + " ");
    return at == std::string::npos ? 0 : std::stoull(text.substr(at + name.size() + 2));
}

constexpr const char* computed = "sonogate_jobs_total{endpoint=\"analyze\",outcome=\"ok\"}";

void equal_jobs_of_two_links_are_computed_once_and_kept(void**) {
    Daemon daemon;
    const auto one = open_link(daemon);
    const auto two = open_link(daemon);
    assert_true(one->all_ready());
    const std::string wav = tone_wav(60.0, 500.0);
    assert_true(one->push(keyed(*one, 0, wav, 7)));
    assert_true(one->push(keyed(*one, 1, wav, 7)));
    assert_true(two->push(keyed(*two, 0, wav, 7)));
    const auto a = one->wait();
    const auto b = one->wait();
    const auto c = two->wait();
    assert_true(a && b && c);
    const std::string text = one->take_result(*a);
    assert_true(text.starts_with("{"));
    assert_true(one->take_result(*b) == text);
    assert_true(two->take_result(*c) == text);
    assert_int_equal(metric(*one, computed), 1);

    const auto found = two->cache.find({7, ~7ULL}, now_ns());
    assert_true(found.has_value());
    std::string kept(found->result_bytes, ' ');
    assert_true(two->cache.copy(*found, std::as_writable_bytes(std::span(kept))));
    assert_true(kept == text);
    // Who did not look is answered from it by the broker.
    assert_true(two->push(keyed(*two, 2, wav, 7)));
    const auto d = two->wait();
    assert_true(d && d->cached == 1 && d->status == 200);
    assert_true(two->take_result(*d) == text);
    assert_int_equal(metric(*one, computed), 1);
}

void a_link_that_ends_leaves_its_job_to_the_others(void**) {
    Daemon daemon;
    auto one = open_link(daemon);
    const auto two = open_link(daemon);
    assert_true(one->all_ready());
    const std::string wav = tone_wav(60.0, 700.0);
    assert_true(one->push(keyed(*one, 0, wav, 8)));
    assert_true(two->push(keyed(*two, 0, wav, 8)));
    one.reset();
    // The worker that may have its input dies too: the second one's slab is the input now.
    for (const pid_t worker : daemon.workers()) {
        ::kill(worker, SIGKILL);
    }
    const auto done = two->wait(30'000);
    assert_true(done && done->failure.errc == 0);
    assert_int_equal(metric(*two, "sonogate_upload_memory_bytes{state=\"used\"}"), 0);
}

void hits_that_never_were_harm_nobody(void**) {
    Daemon daemon;
    const auto liar = open_link(daemon);
    const auto good = open_link(daemon);
    assert_true(good->all_ready());
    for (std::uint32_t i = 0; i < shm::noted_hits; ++i) {
        liar->up().hit_entries[i].store(i * 0x9e3779b9U);
    }
    const std::string wav = tone_wav(1.0, 300.0);
    for (const std::uint64_t hits :
         {UINT64_MAX, std::uint64_t{5}, UINT64_MAX / 2, std::uint64_t{0}}) {
        liar->up().cache_hits.store(hits);
        assert_true(good->push(keyed(*good, 0, wav, 100 + hits)));
        const auto done = good->wait();
        assert_true(done && done->status == 200);
        (void)good->take_result(*done);
        assert_true(good->cache.find({100 + hits, ~(100 + hits)}, now_ns()).has_value());
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(equal_jobs_of_two_links_are_computed_once_and_kept),
        cmocka_unit_test(a_link_that_ends_leaves_its_job_to_the_others),
        cmocka_unit_test(hits_that_never_were_harm_nobody),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
