// Jobs end to end: a client that speaks nginx's side of the link, and the real daemon.
#include <signal.h>

#include <cstdio>
#include <nlohmann/json.hpp>
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

Daemon* daemon_ = nullptr;

int start(void**) {
    daemon_ = new Daemon;
    return 0;
}
int finish(void**) {
    delete daemon_;
    return 0;
}

std::unique_ptr<LinkClient> open_link() {
    auto link = LinkClient::open(daemon_->socket_path(), settings_with("sqlite:catalog.db"));
    assert_non_null(link.get());
    return link;
}

shm::Completion run(LinkClient& link, const shm::Submission& job) {
    assert_true(link.push(job));
    const auto done = link.wait();
    if (!done) {
        std::fprintf(stderr, "%s", daemon_->log().c_str());
    }
    assert_true(done.has_value());
    assert_int_equal(static_cast<int>(done->kind), static_cast<int>(shm::CompletionKind::done));
    assert_true(done->job == job.job);
    return *done;
}

void an_upload_is_analysed(void**) {
    const auto link = open_link();
    const std::string wav = tone_wav(2.0, 440.0);
    const std::uint32_t slab = link->add_slab(shm::warm_slab_audio_bytes, true);
    link->fill(slab, "", wav);
    auto job = link->job(shm::Endpoint::analyze, 0, slab, 0, wav.size());
    const auto done = run(*link, job);
    assert_int_equal(done.failure.errc, 0);
    assert_int_equal(done.status, 200);
    const auto json = nlohmann::json::parse(link->take_result(done));
    assert_string_equal(json["kind"].get<std::string>().c_str(), "analyze");
    assert_float_equal(json["peaks"][0]["frequency_hz"].get<double>(), 440.0, 0.5);
}

void a_large_upload_travels_as_a_descriptor(void**) {
    const auto link = open_link();
    const std::string wav = tone_wav(700.0, 1000.0);  // 11 MB: more than a warm slab holds
    const std::uint32_t slab = link->add_slab(wav.size(), false);
    link->fill(slab, "", wav);
    auto admit = link->job(shm::Endpoint::analyze, 0, slab, 0, wav.size());
    admit.op = shm::Op::admit;
    admit.need_bytes = wav.size();
    assert_true(link->push(admit));
    auto answer = link->wait();
    assert_true(answer && answer->kind == shm::CompletionKind::admitted);
    assert_int_equal(answer->granted_bytes, 1U << 20U);
    auto charge = admit;
    charge.op = shm::Op::charge;
    charge.charged_bytes = wav.size();
    assert_true(link->push(charge));
    answer = link->wait();
    assert_true(answer && answer->kind == shm::CompletionKind::charged);
    assert_int_equal(answer->granted_bytes, wav.size());
    auto job = admit;
    job.op = shm::Op::submit;
    job.flags = shm::submission_has_ticket;
    const auto done = run(*link, job);
    assert_int_equal(done.failure.errc, 0);
    const auto json = nlohmann::json::parse(link->take_result(done));
    assert_float_equal(json["audio"]["duration_s"].get<double>(), 700.0, 0.01);
}

void a_track_is_enrolled_listed_found_and_deleted(void**) {
    const auto link = open_link();
    const std::string wav = tone_wav(20.0, 700.0, 77);
    const std::uint32_t slab = link->add_slab(shm::warm_slab_audio_bytes, true);
    link->fill(slab, "", wav);
    auto create = link->job(shm::Endpoint::track_create, 3, slab, 0, wav.size());
    create.flags |= shm::submission_resubmitted;  // no ticket: as after a backend's death
    LinkClient::set(create.track_id, "song-1");
    auto done = run(*link, create);
    assert_int_equal(done.failure.errc, 0);
    assert_int_equal(done.status, 201);
    assert_true(link->down().catalog_tracks.load() == 1);
    (void)link->take_result(done);
    auto get = link->job(shm::Endpoint::track_get, 3, 0, 0, 0);
    LinkClient::set(get.track_id, "song-1");
    done = run(*link, get);
    assert_int_equal(done.status, 200);
    const auto json = nlohmann::json::parse(link->take_result(done));
    assert_string_equal(json["track_id"].get<std::string>().c_str(), "song-1");
    auto remove = link->job(shm::Endpoint::track_delete, 3, 0, 0, 0);
    LinkClient::set(remove.track_id, "song-1");
    auto forbidden = remove;
    forbidden.flags = 0;
    done = run(*link, forbidden);
    assert_int_equal(done.failure.errc, static_cast<int>(Errc::forbidden));
    done = run(*link, remove);
    assert_int_equal(done.status, 204);
    done = run(*link, get);
    assert_int_equal(done.failure.errc, static_cast<int>(Errc::not_found));
}

void metrics_are_text_and_count_the_jobs(void**) {
    const auto link = open_link();
    link->up().requests[1][1].store(5);
    const auto done = run(*link, link->job(shm::Endpoint::metrics, 0, 0, 0, 0));
    assert_int_equal(done.status, 200);
    assert_int_equal(done.text_plain, 1);
    const std::string text = link->take_result(done);
    for (const char* line :
         {"sonogate_requests_total{endpoint=\"analyze\",status=\"200\"} 5",
          "sonogate_jobs_total{endpoint=\"analyze\",outcome=\"ok\"}",
          "sonogate_stage_seconds_bucket{stage=\"decode\",le=\"+Inf\"}",
          "sonogate_workers{state=\"wanted\"} 4", "sonogate_build_info{version=\""}) {
        if (text.find(line) == std::string::npos) {
            std::fprintf(stderr, "%s\nhas no %s\n", text.c_str(), line);
        }
        assert_true(text.find(line) != std::string::npos);
    }
}

void the_daemon_drains_on_sigterm_and_leaves_nothing(void**) {
    Daemon daemon;
    auto link = LinkClient::open(daemon.socket_path(), settings_with("sqlite:catalog.db"));
    assert_non_null(link.get());
    const std::string wav = tone_wav(300.0, 1000.0);
    const std::uint32_t slab = link->add_slab(wav.size(), true);
    link->fill(slab, "", wav);
    for (std::uint32_t i = 0; i < 1; ++i) {
        auto job = link->job(shm::Endpoint::analyze, i, slab, 0, wav.size());
        job.flags |= shm::submission_resubmitted;
        assert_true(link->push(job));
    }
    ::usleep(2'000);
    const auto processes = daemon.processes();
    ::kill(daemon.pid, SIGTERM);
    const auto done = link->wait();
    assert_true(done.has_value());  // what runs is finished
    assert_int_equal(done->failure.errc, 0);
    assert_int_equal(daemon.stop(SIGTERM), 0);
    for (const auto& process : processes) {
        assert_true(Daemon::title(process.pid).empty());
    }
    assert_false(std::filesystem::exists(daemon.socket_path()));
}

// Two jobs for one worker that stands still: one that it has, and one that waits.
void what_nobody_works_on_at_the_end_may_ask_the_next_daemon(void**) {
    Daemon daemon;
    auto settings = settings_with("sqlite:catalog.db", 1);
    settings.drain_timeout_ms = 300;
    auto link = LinkClient::open(daemon.socket_path(), settings);
    assert_non_null(link.get());
    assert_true(link->all_ready());
    for (const pid_t worker : daemon.workers()) {
        ::kill(worker, SIGSTOP);
    }
    const std::string wav = tone_wav(20.0, 1000.0);  // too long for a worker to be given two
    for (std::uint32_t slot = 0; slot < 2; ++slot) {
        const std::uint32_t slab = link->add_slab(wav.size(), true);
        link->fill(slab, "", wav);
        auto job = link->job(shm::Endpoint::analyze, slot, slab, 0, wav.size());
        job.flags |= shm::submission_resubmitted;
        assert_true(link->push(job));
    }
    while (link->down().queue_depth.load() != 1) {
        ::usleep(1'000);
    }
    ::kill(daemon.pid, SIGTERM);
    for (int i = 0; i < 2; ++i) {
        const auto done = link->wait();
        assert_true(done.has_value());
        assert_int_equal(done->failure.errc, static_cast<int>(Errc::draining));
        assert_int_equal(done->again, done->job.slot);
    }
    assert_int_equal(daemon.stop(SIGTERM), 0);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(an_upload_is_analysed),
        cmocka_unit_test(a_large_upload_travels_as_a_descriptor),
        cmocka_unit_test(a_track_is_enrolled_listed_found_and_deleted),
        cmocka_unit_test(metrics_are_text_and_count_the_jobs),
        cmocka_unit_test(the_daemon_drains_on_sigterm_and_leaves_nothing),
        cmocka_unit_test(what_nobody_works_on_at_the_end_may_ask_the_next_daemon),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
