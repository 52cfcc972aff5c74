#include "librarian/service.hpp"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/clock.hpp"
#include "catalog/record.hpp"
#include "fingerprint/packing.hpp"
#include "shm/params.hpp"
#include "tests/fingerprint/synthetic.hpp"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using namespace sonogate;
using fingerprint::Density;
using librarian::Answer;
using librarian::Request;
using librarian::Service;
using nlohmann::json;
using shm::Endpoint;

class Folder {
  public:
    Folder() {
        char name[] = "/tmp/sonogate-service-XXXXXX";
        path_ = ::mkdtemp(name);
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string file() const { return path_ + "/catalog.db"; }

  private:
    std::string path_;
};

std::unique_ptr<Service> open(const Folder& folder) {
    auto service = Service::open({.store = "sqlite:" + folder.file(), .search_threads = 2});
    assert_true(static_cast<bool>(service));
    return std::move(*service);
}

shm::Text text(std::string_view from) {
    shm::Text out;
    out.size = static_cast<std::uint16_t>(from.size());
    std::copy(from.begin(), from.end(), out.data.begin());
    return out;
}

std::vector<std::byte> bytes(std::string_view from) {
    const Bytes view = as_bytes_of(from);
    return {view.begin(), view.end()};
}

Request request(Endpoint endpoint, std::string_view id = {}, std::string_view record = {}) {
    Request out;
    out.job.endpoint = endpoint;
    out.job.flags = shm::job_catalog_write;
    out.job.track_id = text(id);
    out.record = bytes(record);
    return out;
}

Result<Answer> ask(Service& service, Request r) {
    static std::atomic<std::uint64_t> number = 0;
    r.job.number = ++number;
    const std::uint64_t mine = r.job.number;
    std::promise<Result<Answer>> promise;
    auto future = promise.get_future();
    service.submit(std::move(r), [&](std::uint64_t n, Result<Answer> answer) {
        promise.set_value(n == mine ? std::move(answer) : Result<Answer>(Errc::internal));
    });
    return future.get();
}

// What a worker would send for generated music; short tracks keep the tests quick.
std::string record_of(std::uint32_t seed, double seconds, Density density,
                      const std::function<void(catalog::Record&)>& change = {}) {
    const auto made = test::fingerprint_of(test::music(seed, seconds), density);
    catalog::Record record;
    record.audio = R"({"format":"wav"})";
    record.sha256 = std::string(56, 'a') + std::to_string(10'000'000 + seed);
    record.duration_ms = made.duration_ms;
    record.fingerprint = fingerprint::pack(made);
    if (change) {
        change(record);
    }
    return catalog::pack(record);
}

Request enrolment(std::string_view id, std::uint32_t seed) {
    return request(Endpoint::track_create, id, record_of(seed, 8, Density::track));
}

Request identification(std::uint32_t seed) {
    const auto clip = test::cut(test::music(seed, 8), 2.5, 4);
    catalog::Record record;
    record.audio = R"({"duration_s":4.0})";
    record.duration_ms = 4000;
    record.fingerprint = fingerprint::pack(test::fingerprint_of(clip, Density::clip));
    return request(Endpoint::identify, {}, catalog::pack(record));
}

Request listing(std::initializer_list<std::pair<Parameter, std::string>> parameters) {
    std::vector<std::byte> packed(4096);
    shm::ParamsWriter writer(packed);
    for (const auto& [parameter, value] : parameters) {
        assert_true(static_cast<bool>(writer.add(parameter, value)));
    }
    packed.resize(writer.size());
    Request out = request(Endpoint::track_list);
    out.params = packed;
    return out;
}

json body(const Result<Answer>& answer) {
    assert_true(static_cast<bool>(answer));
    return json::parse(answer->body);
}

int status(const Result<Answer>& answer) {
    return answer ? answer->status : problem_of(answer.failure().code).status;
}

void an_enrolled_track_is_found_told_changed_and_removed(void**) {
    const Folder folder;
    const auto service = open(folder);
    assert_true(body(ask(*service, identification(1)))["reason"] == "catalog_empty");

    const auto created = ask(*service, enrolment("one", 1));
    assert_int_equal(status(created), 201);
    assert_true(std::string_view(created->track_id.data.data(), created->track_id.size) == "one");
    const json track = body(created);
    for (const char* member : {"track_id", "title", "artist", "album", "isrc", "metadata",
                               "duration_s", "hashes", "sha256", "created_at"}) {
        assert_true(track.contains(member));
    }
    assert_true(track["duration_s"] == 8.0 && track["hashes"] > 100 &&
                track["metadata"].is_object());
    assert_int_equal(service->stats().tracks, 1);
    assert_true(service->stats().hashes == track["hashes"]);

    const json found = body(ask(*service, identification(1)));
    assert_true(found["match"] == true && found["reason"].is_null());
    const json& match = found["matches"][0];
    assert_true(match["track_id"] == "one" && match["tempo_ratio"] == 1.0);
    const double offset_s =
        match["track_start_s"].get<double>() - match["query_start_s"].get<double>();
    assert_true(std::abs(offset_s - 2.5) < 0.05);
    assert_true(match["coverage"] > 0.8 && match["confidence"] >= 0.99);
    assert_true(found["catalog"]["version"] == service->stats().version);
    assert_int_equal(service->stats().queries, 2);
    assert_int_equal(service->stats().queries_matched, 1);

    const auto got = ask(*service, request(Endpoint::track_get, "one"));
    assert_true(body(got) == track && got->etag != 0);
    const auto patched = ask(*service, request(Endpoint::track_patch, "one",
                                               R"({"title":"Neu","metadata":{"x":[1,2]}})"));
    assert_true(body(patched)["title"] == "Neu" && body(patched)["metadata"]["x"][1] == 2);
    assert_true(patched->etag != got->etag);
    assert_true(body(ask(*service, identification(1)))["matches"][0]["title"] == "Neu");

    assert_int_equal(status(ask(*service, request(Endpoint::track_delete, "one"))), 204);
    assert_int_equal(status(ask(*service, request(Endpoint::track_get, "one"))), 404);
    assert_int_equal(status(ask(*service, request(Endpoint::track_delete, "one"))), 404);
    assert_true(body(ask(*service, identification(1)))["match"] == false);
    assert_int_equal(service->stats().tracks, 0);
    assert_int_equal(service->stats().hashes, 0);
}

void the_same_audio_is_200_other_audio_409_the_same_request_201(void**) {
    const Folder folder;
    const auto service = open(folder);
    Request first = enrolment("id", 1);
    first.job.job_key[0] = 9;
    assert_int_equal(status(ask(*service, first)), 201);
    assert_int_equal(status(ask(*service, first)), 201);  // sent again after a backend's death
    assert_int_equal(status(ask(*service, enrolment("id", 1))), 200);
    assert_int_equal(status(ask(*service, enrolment("id", 2))), 409);
    assert_int_equal(service->stats().tracks, 1);

    Request gone = request(Endpoint::track_delete, "id");
    gone.job.job_key[0] = 8;
    assert_int_equal(status(ask(*service, gone)), 204);
    assert_int_equal(status(ask(*service, gone)), 204);
    assert_int_equal(status(ask(*service, request(Endpoint::track_delete, "id"))), 404);
}

void the_id_is_nginxs_unless_nginx_made_it_and_the_body_names_one(void**) {
    const Folder folder;
    const auto service = open(folder);
    const auto with_own = [](catalog::Record& r) { r.track_id = "own"; };
    Request named =
        request(Endpoint::track_create, "path", record_of(1, 8, Density::track, with_own));
    assert_true(body(ask(*service, named))["track_id"] == "path");
    named.job.flags |= shm::job_track_id_made;
    assert_true(body(ask(*service, named))["track_id"] == "own");
    for (const char* bad : {"", "a/b", "a b"}) {
        const auto refused = ask(*service, enrolment(bad, 3));
        assert_true(!refused && refused.failure().parameter == Parameter::track_id);
    }
}

void what_cannot_be_enrolled_says_why(void**) {
    const Folder folder;
    const auto service = open(folder);
    const auto enrol = [&](const std::string& record) {
        return ask(*service, request(Endpoint::track_create, "x", record)).failure().code;
    };
    const auto as_silence = [](catalog::Record& r) {
        r.fingerprint =
            fingerprint::pack(test::fingerprint_of(std::vector<float>(80'000), Density::track));
    };
    assert_true(enrol(record_of(1, 8, Density::track, as_silence)) == Errc::silent);
    assert_true(enrol(record_of(1, 0.5, Density::track)) == Errc::too_short);
    assert_true(enrol(record_of(1, 8, Density::clip)) == Errc::internal);
    assert_true(enrol(record_of(1, 8, Density::track, [](auto& r) { r.fingerprint.clear(); })) ==
                Errc::internal);
    assert_true(enrol("rubbish") == Errc::internal);
    Request readonly = enrolment("x", 1);
    readonly.job.flags = 0;
    assert_true(ask(*service, readonly).failure().code == Errc::forbidden);
    assert_int_equal(service->stats().tracks, 0);
}

void a_patch_is_read_with_distrust(void**) {
    const Folder folder;
    const auto service = open(folder);
    (void)ask(*service, enrolment("one", 1));
    const json before = body(ask(*service, request(Endpoint::track_get, "one")));
    const auto patch = [&](std::string_view b) {
        return ask(*service, request(Endpoint::track_patch, "one", b));
    };
    for (const char* bad : {"", "x", "[]", "1", "{\"title\":\"a\"", "{\"title\":\"a\"}x"}) {
        assert_true(patch(bad).failure().code == Errc::malformed_json);
    }
    const std::string deep =
        "{\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
    assert_true(patch(deep).failure().code == Errc::malformed_json);
    const std::vector<std::pair<const char*, Parameter>> refused = {
        {R"({"title":1})", Parameter::title},
        {R"({"artist":["a"]})", Parameter::artist},
        {R"({"metadata":[]})", Parameter::metadata},
        {R"({"isrc":"a b"})", Parameter::isrc},
        {R"({"title":"a","title":"b"})", Parameter::title},
        {R"({"track_id":"two"})", Parameter::track_id}};
    for (const auto& [b, parameter] : refused) {
        const auto answer = patch(b);
        assert_true(!answer && answer.failure().code == Errc::invalid_parameter);
        assert_true(answer.failure().parameter == parameter);
    }
    assert_true(body(ask(*service, request(Endpoint::track_get, "one"))) == before);
    // An answer of GET may be sent back as it is; null empties; unknown members do nothing.
    assert_true(body(patch(before.dump())) == before);
    assert_true(body(patch(R"({"title":"T","unknown":1})"))["title"] == "T");
    assert_true(body(patch(R"({"title":null})"))["title"] == "");
    assert_int_equal(status(ask(*service, request(Endpoint::track_patch, "no", "{}"))), 404);
}

void listing_pages_and_searches(void**) {
    const Folder folder;
    const auto service = open(folder);
    for (std::uint32_t i = 0; i < 5; ++i) {
        const auto titled = [i](catalog::Record& r) {
            r.labels.title = i < 2 ? "Große Fuge" : "x";
        };
        (void)ask(*service, request(Endpoint::track_create, "t" + std::to_string(i),
                                    record_of(i, 3, Density::track, titled)));
    }
    const json first = body(ask(*service, listing({{Parameter::limit, "3"}})));
    assert_true(first["tracks"].size() == 3 && first["next_cursor"].is_string());
    const json second = body(ask(
        *service, listing({{Parameter::limit, "3"}, {Parameter::cursor, first["next_cursor"]}})));
    assert_true(second["tracks"].size() == 2 && second["next_cursor"].is_null());
    assert_true(second["tracks"][0]["track_id"] == "t3");
    assert_true(body(ask(*service, listing({{Parameter::q, "grOSSe"}})))["tracks"].empty());
    assert_int_equal(body(ask(*service, listing({{Parameter::q, "GROßE f"}})))["tracks"].size(), 2);
    for (const auto& [parameter, value] : {std::pair{Parameter::limit, "0"},
                                           {Parameter::limit, "101"},
                                           {Parameter::limit, "1x"},
                                           {Parameter::limit, ""},
                                           {Parameter::cursor, "abc"},
                                           {Parameter::q, "\xff"}}) {
        const auto refused = ask(*service, listing({{parameter, value}}));
        assert_true(!refused && refused.failure().parameter == parameter);
    }
}

void a_late_identify_is_not_searched(void**) {
    const Folder folder;
    const auto service = open(folder);
    Request late = identification(1);
    late.job.deadline_ns = 1;
    assert_true(ask(*service, late).failure().code == Errc::deadline_exceeded);
    service->stop();
    assert_true(ask(*service, identification(1)).failure().code == Errc::draining);
}

Request monitoring(const std::vector<float>& sound) {
    const auto made = test::fingerprint_of(sound, Density::clip);
    catalog::Record record;
    record.audio = R"({"format":"wav"})";
    record.sha256 = std::string(64, 'b');
    record.duration_ms = made.duration_ms;
    record.fingerprint = fingerprint::pack(made);
    return request(Endpoint::monitor, {}, catalog::pack(record));
}

void monitor_tells_each_play_and_a_repeat_apart(void**) {
    const Folder folder;
    const auto service = open(folder);
    (void)ask(*service, enrolment("one", 1));
    (void)ask(*service, enrolment("two", 2));
    std::vector<float> sound = test::noise(7, 12, 0.01);
    for (const std::uint32_t seed : {1U, 2U, 1U}) {
        const auto play = test::music(seed, 8);
        sound.insert(sound.end(), play.begin(), play.end());
        const auto rest = test::noise(seed, 5, 0.01);
        sound.insert(sound.end(), rest.begin(), rest.end());
    }
    const json told = body(ask(*service, monitoring(sound)));
    assert_true(told["kind"] == "monitor" && told["catalog"]["tracks"] == 2);
    const std::array<std::string, 3> expected = {"one", "two", "one"};
    assert_int_equal(told["plays"].size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const json& play = told["plays"][i];
        const double begin_s = 12 + 13.0 * static_cast<double>(i);
        assert_true(play["track_id"] == expected[i]);
        assert_true(std::abs(play["start_s"].get<double>() - begin_s) < 1);
        assert_true(std::abs(play["end_s"].get<double>() - begin_s - 8) < 1);
        assert_true(std::abs(play["start_s"].get<double>() - begin_s -
                             play["track_start_s"].get<double>()) < 0.1);
    }
    assert_true(told["plays"][0]["play_id"] != told["plays"][2]["play_id"]);
    assert_true(body(ask(*service, monitoring(sound)))["plays"] == told["plays"]);
}

void an_hour_of_radio_lets_a_clip_go_first(void**) {
    const Folder folder;
    auto service =
        std::move(*Service::open({.store = "sqlite:" + folder.file(), .search_threads = 1}));
    (void)ask(*service, enrolment("one", 1));
    std::vector<Endpoint> answered;
    std::promise<void> both;
    const auto note = [&](Endpoint endpoint) {
        return [&, endpoint](std::uint64_t, const Result<Answer>& answer) {
            assert_true(static_cast<bool>(answer));
            answered.push_back(endpoint);
            if (answered.size() == 2) {
                both.set_value();
            }
        };
    };
    // From the one search thread itself, so that both wait when it takes the first.
    const Request recording = monitoring(test::noise(3, 90, 0.1));
    service->submit(identification(2), [&](std::uint64_t, const Result<Answer>&) {
        service->submit(recording, note(Endpoint::monitor));
        service->submit(identification(1), note(Endpoint::identify));
    });
    both.get_future().wait();
    assert_true(answered[0] == Endpoint::identify && answered[1] == Endpoint::monitor);
}

void a_late_monitor_job_stops_between_two_pieces(void**) {
    const Folder folder;
    const auto service = open(folder);
    (void)ask(*service, enrolment("one", 1));
    Request late = monitoring(test::noise(3, 90, 0.1));
    late.job.deadline_ns = 1;
    assert_true(ask(*service, late).failure().code == Errc::deadline_exceeded);
    Request broken = monitoring(test::noise(3, 2, 0.1));
    broken.record.resize(broken.record.size() - 1);
    assert_true(ask(*service, broken).failure().code == Errc::internal);
}

void a_monitor_job_that_nobody_waits_for_stops_between_two_pieces(void**) {
    const Folder folder;
    std::atomic<unsigned> asked = 0;
    const auto service = std::move(
        *Service::open({.store = "sqlite:" + folder.file(), .is_cancelled = [&](std::uint64_t) {
                            return ++asked == 2;  // four pieces are 90 s
                        }}));
    (void)ask(*service, enrolment("one", 1));
    assert_true(ask(*service, monitoring(test::noise(3, 90, 0.1))).failure().code ==
                Errc::cancelled);
    assert_int_equal(asked, 2);
    assert_int_equal(status(ask(*service, monitoring(test::noise(3, 90, 0.1)))), 200);
}

void the_index_is_a_cache_that_may_be_lost_at_any_time(void**) {
    const Folder folder;
    const std::string index = folder.file() + "-index";
    constexpr std::uint32_t tracks = 9;
    std::atomic<std::uint64_t> rebuilt = 0;
    const auto reopen = [&] {
        rebuilt = 0;
        auto service = Service::open({.store = "sqlite:" + folder.file(),
                                      .search_threads = 2,
                                      .most_unsaved_hashes = 1,  // each commit makes a file
                                      .progress = [&](std::uint64_t n) { rebuilt = n; }});
        assert_true(static_cast<bool>(service));
        return std::move(*service);
    };
    const auto all_are_found = [&](Service& service) {
        for (std::uint32_t seed = 1; seed <= tracks; ++seed) {
            const json found = body(ask(service, identification(seed)));
            assert_true(found["match"] == (seed != 4));
        }
    };
    {
        const auto service = reopen();
        for (std::uint32_t seed = 1; seed <= tracks; ++seed) {
            assert_int_equal(status(ask(*service, enrolment("t" + std::to_string(seed), seed))),
                             201);
        }
        assert_int_equal(status(ask(*service, request(Endpoint::track_delete, "t4"))), 204);
        all_are_found(*service);
    }
    const auto files = [&] {
        std::vector<std::filesystem::path> out;
        for (const auto& entry : std::filesystem::directory_iterator(index)) {
            out.push_back(entry.path());
        }
        return out;
    };
    assert_true(!files().empty() && files().size() < tracks);  // merged meanwhile
    all_are_found(*reopen());
    std::filesystem::resize_file(files().front(), std::filesystem::file_size(files().front()) - 9);
    all_are_found(*reopen());
    assert_true(rebuilt > 0);
    std::filesystem::remove_all(index);
    all_are_found(*reopen());
    assert_int_equal(rebuilt, tracks - 1);
    assert_true(!files().empty());
    {
        const auto service = reopen();
        assert_int_equal(service->stats().tracks, tracks - 1);
        (void)ask(*service, enrolment("t4", 4));
    }
    assert_true(body(ask(*reopen(), identification(4)))["match"] == true);
    // A folder in its way: the index stays in memory, and the service goes on.
    std::filesystem::remove_all(index);
    std::ofstream(index) << "no folder";
    const auto service = reopen();
    assert_true(body(ask(*service, identification(7)))["match"] == true);
}

// The lines of the log while it lives.
class Lines {
  public:
    Lines() : before_(spdlog::default_logger()) {
        spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", sink_));
    }
    ~Lines() { spdlog::set_default_logger(before_); }
    Lines(const Lines&) = delete;
    Lines& operator=(const Lines&) = delete;

    // How many have that.
    std::size_t count(std::string_view what) const { return sink_->count(what); }

  private:
    class Sink final : public spdlog::sinks::base_sink<std::mutex> {
      public:
        std::size_t count(std::string_view what) {
            const std::lock_guard lock(mutex_);
            return static_cast<std::size_t>(std::count_if(
                lines_.begin(), lines_.end(),
                [&](const std::string& line) { return line.find(what) != std::string::npos; }));
        }

      protected:
        void sink_it_(const spdlog::details::log_msg& message) override {
            lines_.emplace_back(message.payload.data(), message.payload.size());
        }
        void flush_() override {}

      private:
        std::vector<std::string> lines_;
    };

    std::shared_ptr<Sink> sink_ = std::make_shared<Sink>();
    std::shared_ptr<spdlog::logger> before_;
};

void wait_until(const std::function<bool()>& what) {
    for (int i = 0; i < 4000 && !what(); ++i) {
        ::usleep(5'000);
    }
    assert_true(what());
}

// As on a full disk: the small files may still be written, and what they are merged into may not.
void a_merge_that_fails_is_told_once_and_tried_again_later(void**) {
    const Folder folder;
    const std::string index = folder.file() + "-index";
    constexpr std::uint32_t tracks = 8;
    std::filesystem::create_directory(index);
    const auto in_the_way = [&](const auto& act) {
        for (std::uint32_t first = 1; first <= tracks; ++first) {
            for (std::uint32_t last = first + 1; last <= tracks; ++last) {
                act(index + "/segment-" + std::to_string(first) + "-" + std::to_string(last) +
                    ".sgix");
            }
        }
    };
    in_the_way([](const std::string& path) { std::filesystem::create_directory(path); });
    const Lines lines;
    const auto files = [&] {
        const std::filesystem::directory_iterator all(index);
        return std::count_if(begin(all), end(all),
                             [](const auto& entry) { return entry.is_regular_file(); });
    };
    const auto enrol_all = [&](std::uint64_t pause_ms) {
        auto opened = Service::open({.store = "sqlite:" + folder.file(),
                                     .search_threads = 1,
                                     .most_unsaved_hashes = 1,  // each commit makes a file
                                     .first_pause_ms = pause_ms});
        assert_true(static_cast<bool>(opened));
        for (std::uint32_t seed = 1; seed <= tracks; ++seed) {
            (void)ask(**opened, enrolment("t" + std::to_string(seed), seed));
            // Two files, and then one of both that cannot be.
            wait_until(
                [&] { return seed == 1 ? files() != 0 : lines.count("is not written") != 0; });
        }
        return std::move(*opened);
    };
    {
        const auto service = enrol_all(3'600'000);
        assert_true(body(ask(*service, identification(tracks)))["match"] == true);
        service->stop();
        assert_int_equal(lines.count("is not written"), 1);
    }
    const auto service = enrol_all(5);
    in_the_way([](const std::string& path) { std::filesystem::remove(path); });
    // By itself: nothing is enrolled any more.
    wait_until([&] { return files() == 1; });
    service->stop();
    assert_int_equal(lines.count("is not written"), 2);
    assert_int_equal(lines.count("are written again"), 1);
}

// One search thread, held between two pieces of the first of two recordings.
void stop_takes_back_what_nobody_can_be_told(void**) {
    const Folder folder;
    std::promise<void> in_first;
    std::promise<void> go_on;
    std::atomic<unsigned> asked = 0;
    const auto service = std::move(
        *Service::open({.store = "sqlite:" + folder.file(), .is_cancelled = [&](std::uint64_t) {
                            if (++asked == 2) {
                                in_first.set_value();
                                go_on.get_future().wait();
                            }
                            return false;
                        }}));
    (void)ask(*service, enrolment("one", 1));
    std::mutex mutex;
    std::vector<Errc> outcomes;
    const auto note = [&](std::uint64_t, const Result<Answer>& answer) {
        const std::lock_guard lock(mutex);
        outcomes.push_back(answer ? Errc::ok : answer.failure().code);
    };
    service->submit(monitoring(test::noise(3, 90, 0.1)), note);
    in_first.get_future().wait();
    service->submit(monitoring(test::noise(4, 90, 0.1)), note);
    service->submit(request(Endpoint::track_get, "one"), note);
    service->submit(enrolment("two", 2), note);
    std::thread stopping([&] { service->stop(); });
    std::atomic<bool> told = false;  // at once, where it is stopping
    while (!told) {
        service->submit(request(Endpoint::track_get, "one"),
                        [&](std::uint64_t, const Result<Answer>& answer) {
                            told = !answer && answer.failure().code == Errc::draining;
                        });
        std::this_thread::yield();
    }
    go_on.set_value();
    stopping.join();
    assert_int_equal(asked, 2);  // no other piece was begun
    std::sort(outcomes.begin(), outcomes.end());
    const std::vector<Errc> expected = {Errc::ok, Errc::draining, Errc::draining, Errc::draining};
    assert_true(outcomes == expected);
}

void a_damaged_row_does_not_stop_the_service(void**) {
    const Folder folder;
    {
        const auto service = open(folder);
        (void)ask(*service, enrolment("good", 1));
        (void)ask(*service, enrolment("bad", 2));
    }
    sqlite3* handle = nullptr;
    assert_int_equal(sqlite3_open(folder.file().c_str(), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle,
                                  "UPDATE tracks SET fingerprint=x'00112233', metadata='{{',"
                                  "title=CAST(x'ff' AS TEXT) WHERE id='bad'",
                                  nullptr, nullptr, nullptr),
                     SQLITE_OK);
    sqlite3_close(handle);
    const auto service = open(folder);
    assert_int_equal(service->stats().tracks, 1);
    assert_true(body(ask(*service, identification(1)))["match"] == true);
    assert_true(body(ask(*service, identification(2)))["match"] == false);
    assert_int_equal(body(ask(*service, listing({})))["tracks"].size(), 2);
    assert_int_equal(status(ask(*service, request(Endpoint::track_delete, "bad"))), 204);
}

void many_threads_at_once_lose_nothing(void**) {
    const Folder folder;
    const auto service = open(folder);
    constexpr int threads = 4;
    constexpr int each = 12;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> running;
    for (int t = 0; t < threads; ++t) {
        running.emplace_back([&, t] {
            for (int i = 0; i < each; ++i) {
                const auto seed = static_cast<std::uint32_t>(100 * t + i);
                const std::string id = std::to_string(seed);
                wrong += status(ask(*service, enrolment(id, seed))) != 201;
                const json found = body(ask(*service, identification(seed)));
                wrong += found["match"] != true || found["matches"][0]["track_id"] != id;
                if (i % 3 == 0) {
                    wrong += status(ask(*service, request(Endpoint::track_delete, id))) != 204;
                    wrong += body(ask(*service, identification(seed)))["match"] != false;
                }
            }
        });
    }
    for (std::thread& thread : running) {
        thread.join();
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(service->stats().tracks, threads * each * 2 / 3);
}

// The child tells each acknowledged change on a pipe, and dies by SIGKILL somewhere.
void enrol_until_killed(const std::string& store, const std::string& record, int acknowledged,
                        std::uint32_t first) {
    spdlog::set_level(spdlog::level::off);
    auto service = Service::open({.store = store, .search_threads = 1});
    if (!service) {
        ::_exit(1);
    }
    for (std::uint32_t i = first;; ++i) {
        const std::string id = "t" + std::to_string(i);
        if (status(ask(**service, request(Endpoint::track_create, id, record))) == 201) {
            (void)!::write(acknowledged, &i, sizeof i);
        }
        if (i % 4 == 3 && status(ask(**service, request(Endpoint::track_delete, id))) == 204) {
            const std::uint32_t removed = i | 0x80000000U;
            (void)!::write(acknowledged, &removed, sizeof removed);
        }
    }
}

void what_was_acknowledged_survives_kill_9(void**) {
    constexpr std::uint32_t seed = 99;
    print_message("seed %u\n", seed);
    test::Random random(seed);
    const Folder folder;
    const std::string record = record_of(1, 3, Density::track);  // the same in every child
    std::set<std::uint32_t> stored;
    std::set<std::uint32_t> removed;
    for (int round = 0; round < 12; ++round) {
        int ends[2];
        assert_int_equal(::pipe(ends), 0);
        const pid_t child = ::fork();
        assert_true(child >= 0);
        if (child == 0) {
            ::close(ends[0]);
            enrol_until_killed("sqlite:" + folder.file(), record, ends[1],
                               static_cast<std::uint32_t>(round) * 100'000);
        }
        ::close(ends[1]);
        ::usleep(20'000 + random.below(150'000));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        for (std::uint32_t i = 0; ::read(ends[0], &i, sizeof i) == sizeof i;) {
            if ((i & 0x80000000U) == 0) {
                stored.insert(i);
            } else {
                removed.insert(i & 0x7fffffffU);
            }
        }
        ::close(ends[0]);
    }
    assert_true(stored.size() > 20 && !removed.empty());
    const auto service = open(folder);
    for (const std::uint32_t i : stored) {
        const auto got = ask(*service, request(Endpoint::track_get, "t" + std::to_string(i)));
        if (removed.contains(i)) {
            assert_int_equal(status(got), 404);
        } else if (i % 4 != 3) {  // else its removal may have been done and not told
            assert_int_equal(status(got), 200);
        }
    }
    // The index holds exactly what the store does.
    std::size_t listed = 0;
    std::string cursor;
    for (bool more = true; more;) {
        const json page = body(
            ask(*service, cursor.empty()
                              ? listing({{Parameter::limit, "100"}})
                              : listing({{Parameter::limit, "100"}, {Parameter::cursor, cursor}})));
        listed += page["tracks"].size();
        more = page["next_cursor"].is_string();
        cursor = more ? page["next_cursor"].get<std::string>() : "";
    }
    assert_int_equal(service->stats().tracks, listed);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_kill_9),  // forks: before any thread
        cmocka_unit_test(an_enrolled_track_is_found_told_changed_and_removed),
        cmocka_unit_test(the_same_audio_is_200_other_audio_409_the_same_request_201),
        cmocka_unit_test(the_id_is_nginxs_unless_nginx_made_it_and_the_body_names_one),
        cmocka_unit_test(what_cannot_be_enrolled_says_why),
        cmocka_unit_test(a_patch_is_read_with_distrust),
        cmocka_unit_test(listing_pages_and_searches),
        cmocka_unit_test(a_late_identify_is_not_searched),
        cmocka_unit_test(monitor_tells_each_play_and_a_repeat_apart),
        cmocka_unit_test(an_hour_of_radio_lets_a_clip_go_first),
        cmocka_unit_test(a_late_monitor_job_stops_between_two_pieces),
        cmocka_unit_test(a_monitor_job_that_nobody_waits_for_stops_between_two_pieces),
        cmocka_unit_test(the_index_is_a_cache_that_may_be_lost_at_any_time),
        cmocka_unit_test(a_merge_that_fails_is_told_once_and_tried_again_later),
        cmocka_unit_test(stop_takes_back_what_nobody_can_be_told),
        cmocka_unit_test(a_damaged_row_does_not_stop_the_service),
        cmocka_unit_test(many_threads_at_once_lose_nothing),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
