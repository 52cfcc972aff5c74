"""The result cache: a hit is the stored answer, starts no job and wakes nobody; whatever changes an answer is a miss."""

import base64
import io
import os
import re
import signal
import time

import httpx
import psutil
import pytest
import requests

from contract import assert_job_answer, assert_problem, strict_json
from load import all_at_once
from raw_http import RawConnection
from served import Served, free_port, reachable_folder, wait_until
from sounds import music, noise, tone, wav, wav_of_size
from metrics import scrape, total

CACHE = "result_cache 64m ttl=1h;"
LOCATIONS = """
    location = /off/v1/analyze { rewrite ^/off(/.*)$ $1 break; sonogate_pass main; sonogate_cache off; }
    location = /short/v1/analyze { rewrite ^/short(/.*)$ $1 break; sonogate_pass main; sonogate_max_audio 2s; }
"""
numbers = iter(range(1, 1 << 20))


def new_sound(seconds=0.2):
    """A file that no other test has sent."""
    return wav(tone(200 + next(numbers), seconds))


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Two nginx workers over one cache. Tests that share it change no setting and kill nothing."""
    served = Served(
        reachable_folder(tmp_path_factory, "cached"),
        pool=CACHE,
        http="log_format cache '$sonogate_request_id \"$sonogate_cache\"';",
        server="access_log logs/cache.log cache;" + LOCATIONS,
        location="sonogate_max_body 64m;",
    )
    try:
        yield served.start()
    finally:
        served.stop()


def outcome(server, data, path="/v1/analyze", **arguments):
    """"hit" or "miss", of an answer that is whole."""
    answer = server.post(path, data=data, **arguments)
    said = strict_json(answer)["cache"]
    assert_job_answer(answer, path.rpartition("/")[2].partition("?")[0], cache=said)
    return said


def jobs(server, endpoint="analyze", result="ok"):
    return scrape(server)[0].get(f'sonogate_jobs_total{{endpoint="{endpoint}",outcome="{result}"}}', 0)


# ---- what a hit is


def test_the_second_of_two_equal_uploads_is_answered_from_the_cache(cached):
    file = new_sound()
    first = assert_job_answer(cached.post("/v1/analyze", data=file), "analyze")
    answer = cached.post("/v1/analyze", data=file)
    second = assert_job_answer(answer, "analyze", cache="hit")
    first_id = first["request_id"]
    for name in ("request_id", "timing_ms", "cache"):
        one, two = first.pop(name), second.pop(name)
        assert one != two, name
    assert first == second
    assert re.search(r"decode;dur=0(\.0+)?\b", answer.headers["Server-Timing"]), answer.headers["Server-Timing"]

    def logged():
        with open(os.path.join(cached.state, "logs/cache.log"), encoding="ascii") as log:
            return dict(line.split() for line in log)

    wait_until(lambda: {answer.headers["X-Request-Id"], first_id} <= logged().keys())
    assert logged()[answer.headers["X-Request-Id"]] == '"hit"'
    assert logged()[first_id] == '"miss"'


def test_a_hit_does_not_wake_the_backend(cached):
    """The broker is stopped: whatever needed it would hang."""
    files = [new_sound() for _ in range(3)]
    for file in files:
        assert outcome(cached, file) == "miss"
    before = jobs(cached)
    (broker,) = cached.pids("sonogated: broker")
    os.kill(broker, signal.SIGSTOP)
    try:
        for _ in range(4):  # over new connections, so over both nginx workers
            for file in files:
                answer = cached.post("/v1/analyze", data=file, timeout=10)
                assert_job_answer(answer, "analyze", cache="hit")
    finally:
        os.kill(broker, signal.SIGCONT)
    assert jobs(cached) == before


def test_a_hit_gives_its_ticket_back(cached):
    file = wav_of_size(3_000_000)
    assert outcome(cached, file) == "miss"
    for _ in range(5):
        assert outcome(cached, file) == "hit"
    wait_until(lambda: scrape(cached)[0]['sonogate_upload_memory_bytes{state="used"}'] == 0)


def test_keep_alive_goes_on_after_a_hit(cached):
    file = new_sound()
    with requests.Session() as session:
        for i in range(6):
            answer = session.post(cached.base + "/v1/analyze", data=file, timeout=30)
            assert_job_answer(answer, "analyze", cache="hit" if i else "miss")


def test_pipelined_hits_are_answered_in_order(cached):
    files = [new_sound(), new_sound(0.3)]
    wanted = []
    for file in files:
        answer = assert_job_answer(cached.post("/v1/analyze", data=file), "analyze")
        wanted.append(answer["audio"]["sha256"])
    with RawConnection(cached.port) as raw:
        for file in files * 3:
            raw.head(Content_Length=len(file))
            raw.send(file)
        for sha256 in wanted * 3:
            out = raw.answer().json()
            assert (out["cache"], out["audio"]["sha256"]) == ("hit", sha256)


# ---- what is the same


def test_boundaries_chunks_and_frames_do_not_matter(cached):
    file = new_sound(0.5)
    assert outcome(cached, file) == "miss"
    for name, boundary in (("file", "b"), ("audio", "a" * 60)):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{boundary}.wav"\r\n\r\n'.encode()
        body = head + file + f"\r\n--{boundary}--\r\n".encode()
        assert outcome(cached, body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}) == "hit"
    assert outcome(cached, iter([file[k : k + 777] for k in range(0, len(file), 777)])) == "hit"
    with RawConnection(cached.port) as raw:
        raw.head(Content_Length=len(file))
        for k in range(0, len(file), 10_001):
            raw.send(file[k : k + 10_001])
            time.sleep(0.002)
        assert raw.answer().json()["cache"] == "hit"


def test_parameters_are_the_same_wherever_they_stand(cached):
    file = new_sound()
    assert outcome(cached, file, "/v1/analyze?peaks=7&fft_size=1024&unknown=1") == "miss"
    assert outcome(cached, file, "/v1/analyze?fft_size=1024&peaks=7") == "hit"
    parts = {"file": ("x.wav", io.BytesIO(file)), "fft_size": (None, "1024"), "peaks": (None, "9")}
    assert strict_json(cached.post("/v1/analyze?peaks=7", files=parts))["cache"] == "hit"


def test_both_nginx_workers_have_the_same_keys(cached):
    file = new_sound()
    assert outcome(cached, file) == "miss"
    assert [outcome(cached, file, headers={"Connection": "close"}) for _ in range(16)] == ["hit"] * 16


def test_seconds_of_audio_are_not_charged_for_a_hit(serve):
    server = serve(pool=CACHE, http="sonogate_rate_zone audio:1m;", location="sonogate_rate zone=audio 10s/h;")
    file = new_sound(8)
    assert outcome(server, file) == "miss"
    for _ in range(5):
        assert outcome(server, file) == "hit"
    assert outcome(server, new_sound(8)) == "miss"  # the last that begins within the quota
    assert_problem(server.post("/v1/analyze", data=new_sound(8)), 429, "rate-limited")


# ---- what is not


def test_whatever_changes_the_answer_is_a_miss(cached):
    file = new_sound()
    for path in ("/v1/analyze", "/v1/analyze?peaks=7", "/v1/analyze?peaks=8", "/v1/analyze?channel=left", "/v1/fingerprint", "/short/v1/analyze"):
        assert outcome(cached, file, path) == "miss", path
    assert outcome(cached, file + b"\0\0") == "miss"
    assert outcome(cached, file[:-2]) == "miss"


def test_a_limit_of_another_location_holds_for_what_is_cached(cached):
    file = new_sound(3)
    assert outcome(cached, file) == "miss"
    assert_problem(cached.post("/short/v1/analyze", data=file), 413, "audio-too-long")


def test_a_json_body_is_taken_whole(cached):
    audio = base64.b64encode(new_sound()).decode()
    send = lambda text: outcome(cached, text, headers={"Content-Type": "application/json"})  # noqa: E731
    assert send(f'{{"audio":"{audio}","peaks":3}}') == "miss"
    assert send(f'{{"audio":"{audio}","peaks":3}}') == "hit"
    assert send(f'{{"audio":"{audio}","peaks":4}}') == "miss"
    assert send(f'{{"audio": "{audio}","peaks":3}}') == "miss"


def test_a_location_can_do_without(cached):
    file = new_sound()
    assert [outcome(cached, file, "/off/v1/analyze") for _ in range(2)] == ["miss", "miss"]
    assert outcome(cached, file) == "miss"  # and nothing was kept
    assert outcome(cached, file) == "hit"
    assert outcome(cached, file, "/off/v1/analyze") == "miss"


@pytest.mark.parametrize("said", ["no-store", "No-Cache", "max-age=0, no-store"])
def test_a_client_can_do_without(cached, said):
    file = new_sound()
    assert outcome(cached, file, headers={"Cache-Control": said}) == "miss"
    assert outcome(cached, file) == "miss"
    assert outcome(cached, file, headers={"Cache-Control": said}) == "miss"
    assert outcome(cached, file, headers={"Cache-Control": "max-age=0"}) == "hit"


def test_errors_are_not_kept(cached):
    for body, kind in ((b"text" * 500, "unsupported-format"), (new_sound()[:44], "undecodable")):
        before = jobs(cached, result=kind)
        for _ in range(2):
            answer = cached.post("/v1/analyze", data=body)
            assert answer.headers["Cache-Status"] == "sonogate; fwd=miss"
            assert_problem(answer, answer.status_code, kind)
        assert jobs(cached, result=kind) == before + 2


def test_answers_beyond_a_mebibyte_are_not_kept(cached):
    file = new_sound(4)
    path = "/v1/analyze?fft_size=1048576&spectrum=mean"
    assert len(cached.post(path, data=file).content) > 1 << 20
    assert outcome(cached, file, path) == "miss"


def test_a_cache_of_no_size_is_none(serve):
    server = serve()
    file = new_sound()
    assert [outcome(server, file) for _ in range(2)] == ["miss", "miss"]
    assert scrape(server)[0]["sonogate_result_cache_lookups_total"] == 0


# ---- the catalog


def test_an_answer_about_the_catalog_ends_with_its_version(cached):
    song, clip = wav(music(71, 20)), wav(music(71, 20)[5 * 44100 : 13 * 44100])
    assert outcome(cached, clip, "/v1/identify") == "miss"
    assert outcome(cached, clip, "/v1/identify") == "hit"
    assert cached.post("/v1/tracks?track_id=cache-song", data=song).status_code == 201
    found = assert_job_answer(cached.post("/v1/identify", data=clip), "identify")
    assert [m["track_id"] for m in found["matches"]] == ["cache-song"]
    assert strict_json(cached.post("/v1/identify", data=clip))["matches"] == found["matches"]
    assert outcome(cached, clip, "/v1/identify") == "hit"
    assert cached.request("PATCH", "/v1/tracks/cache-song", json={"title": "New"}).status_code == 200
    renamed = assert_job_answer(cached.post("/v1/identify", data=clip), "identify")
    assert renamed["matches"][0]["title"] == "New"
    assert cached.request("DELETE", "/v1/tracks/cache-song").status_code == 204
    gone = assert_job_answer(cached.post("/v1/identify", data=clip), "identify")
    assert gone["match"] is False


def test_tracks_are_never_answered_from_it(cached):
    song = wav(music(72, 10))
    answers = [cached.post("/v1/tracks?track_id=cache-twice", data=song) for _ in range(3)]
    assert [a.status_code for a in answers] == [201, 200, 200]
    assert all(a.headers["Cache-Status"] == "sonogate; fwd=miss" for a in answers)
    assert cached.request("DELETE", "/v1/tracks/cache-twice").status_code == 204
    assert cached.post("/v1/tracks?track_id=cache-twice", data=song).status_code == 201
    assert cached.request("DELETE", "/v1/tracks/cache-twice").status_code == 204


def test_another_catalog_has_other_answers(serve):
    """Both catalogs are at version 1 when they are asked."""
    song, clip = wav(music(73, 20)), wav(music(73, 20)[4 * 44100 : 12 * 44100])
    server = serve(pool=CACHE)
    assert server.post("/v1/tracks?track_id=a", data=song).status_code == 201
    assert strict_json(server.post("/v1/identify", data=clip))["match"] is True
    assert outcome(server, clip, "/v1/identify") == "hit"
    with open(server.conf_path, encoding="ascii") as file:
        conf = file.read()
    with open(server.conf_path, "w", encoding="ascii") as file:
        file.write(conf.replace("sqlite:catalog.db", "sqlite:other.db"))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: strict_json(server.get("/v1/tracks")) == {"tracks": [], "next_cursor": None}, 30)
    assert server.post("/v1/tracks?track_id=b", data=wav(music(74, 10))).status_code == 201
    answer = strict_json(server.post("/v1/identify", data=clip))
    assert (answer["cache"], answer["match"]) == ("miss", False)


# ---- size, time, life


def test_the_oldest_go_and_those_in_use_stay(serve):
    server = serve(pool="result_cache 1m;")
    path = "/v1/analyze?fft_size=4096&spectrum=mean"  # answers of some 15 KB
    kept = new_sound()
    assert outcome(server, kept, path) == "miss"
    sent = [new_sound() for _ in range(120)]
    with requests.Session() as session:
        for i, file in enumerate(sent):
            assert strict_json(session.post(server.base + path, data=file, timeout=30))["cache"] == "miss"
            if i % 10 == 0:
                assert strict_json(session.post(server.base + path, data=kept, timeout=30))["cache"] == "hit"
    samples = scrape(server)[0]
    assert samples["sonogate_result_cache_evicted_total"] > 0
    assert samples['sonogate_result_cache_bytes{state="used"}'] <= samples['sonogate_result_cache_bytes{state="limit"}'] <= 1 << 20
    assert outcome(server, kept, path) == "hit"
    assert outcome(server, sent[-1], path) == "hit"
    assert outcome(server, sent[0], path) == "miss"


def test_a_result_lives_for_its_ttl(serve):
    server = serve(pool="result_cache 8m ttl=1500ms;")
    file = new_sound()
    start = time.monotonic()
    assert outcome(server, file) == "miss"
    again = outcome(server, file)
    assert again == "hit" or time.monotonic() - start > 1
    wait_until(lambda: outcome(server, file) == "miss", 10)
    assert time.monotonic() - start > 1.4


def test_a_new_daemon_has_an_empty_cache(serve):
    server = serve(pool=CACHE)
    file = new_sound()
    assert outcome(server, file) == "miss"
    assert outcome(server, file) == "hit"
    server.kill(server.pids("sonogated: broker")[0])
    wait_until(lambda: server.post("/v1/analyze", data=new_sound()).status_code == 200, 30)
    assert outcome(server, file) == "miss"
    assert outcome(server, file) == "hit"


def test_a_reload_changes_the_cache_only_where_the_setting_changed(serve):
    server = serve(pool=CACHE)
    file = new_sound()

    def reload_with(pool):
        server.write_conf(pool=pool)
        old = set(server.pids("nginx: worker"))
        server.process.send_signal(signal.SIGHUP)  # scripts/serve reads the file, then nginx does
        wait_until(lambda: not old & set(server.pids("nginx: worker")))
        server.wait_ready()

    assert outcome(server, file) == "miss"
    reload_with(CACHE)
    assert outcome(server, file) == "hit"
    reload_with("result_cache 32m;")
    assert scrape(server)[0]['sonogate_result_cache_bytes{state="limit"}'] < 33 << 20
    assert [outcome(server, file) for _ in range(2)] == ["miss", "hit"]
    reload_with("")
    assert [outcome(server, file) for _ in range(2)] == ["miss", "miss"]
    assert scrape(server)[0]['sonogate_result_cache_bytes{state="limit"}'] == 0
    reload_with(CACHE)
    assert [outcome(server, file) for _ in range(2)] == ["miss", "hit"]


def test_the_hit_rate_is_in_the_metrics(serve):
    server = serve(pool=CACHE)
    file = new_sound()
    for _ in range(4):
        server.post("/v1/analyze", data=file)
    samples, types = scrape(server)
    assert samples["sonogate_result_cache_lookups_total"] == 4
    assert samples["sonogate_result_cache_hits_total"] == 3
    assert samples["sonogate_result_cache_hit_ratio"] == 0.75
    assert samples["sonogate_result_cache_results"] == samples["sonogate_result_cache_stored_total"] == 1
    assert samples["sonogate_result_cache_evicted_total"] == 0
    assert types["sonogate_result_cache_hits_total"] == "counter"
    # Workers that are gone are still counted.
    old = set(server.pids("nginx: worker"))
    server.reload()
    wait_until(lambda: not old & set(server.pids("nginx: worker")))
    server.wait_ready()
    wait_until(lambda: total(scrape(server)[0], "sonogate_result_cache_hits_total") == 3)


# ---- in flight

HEAVY = "/v1/analyze?fft_size=16384&hop=32"  # about two seconds


def test_equal_uploads_in_flight_are_computed_once(cached):
    file = wav(noise(4, 0.3, seed=next(numbers)))
    before = scrape(cached)[0]
    answers = all_at_once(lambda _: cached.post(HEAVY, data=file), 6)
    bodies = []
    for answer in answers:
        out = assert_job_answer(answer, "analyze", cache=strict_json(answer)["cache"])
        for name in ("request_id", "timing_ms", "cache"):
            out.pop(name)
        bodies.append(out)
    assert all(body == bodies[0] for body in bodies)
    after = scrape(cached)[0]
    name = 'sonogate_jobs_total{endpoint="analyze",outcome="ok"}'
    assert after[name] - before.get(name, 0) == 1
    shared = "sonogate_shared_jobs_total"
    hits = "sonogate_result_cache_hits_total"
    assert after[shared] - before[shared] + after[hits] - before[hits] == 5
    wait_until(lambda: scrape(cached)[0]['sonogate_upload_memory_bytes{state="used"}'] == 0)


def begin(server, file, path=HEAVY):
    raw = RawConnection(server.port)
    raw.head(path, Content_Length=len(file))
    raw.send(file)
    return raw


def busy(server):
    return scrape(server)[0]['sonogate_workers{state="busy"}']


def test_who_leaves_takes_the_answer_from_nobody(cached):
    """The first one, whose upload was the job's input, and another."""
    file = wav(noise(4, 0.3, seed=next(numbers)))
    shared = scrape(cached)[0]["sonogate_shared_jobs_total"]
    first = begin(cached, file)
    wait_until(lambda: busy(cached) == 1)
    others = [begin(cached, file) for _ in range(3)]
    wait_until(lambda: scrape(cached)[0]["sonogate_shared_jobs_total"] == shared + 3)
    first.socket.close()
    others[0].socket.close()
    for raw in others[1:]:
        with raw:
            assert raw.answer().status_code == 200
    wait_until(lambda: busy(cached) == 0)


def test_the_work_stops_when_the_last_has_left(cached):
    file = wav(noise(60, 0.3, seed=next(numbers)))
    shared = scrape(cached)[0]["sonogate_shared_jobs_total"]
    waiting = [begin(cached, file)]
    wait_until(lambda: busy(cached) == 1)
    waiting.append(begin(cached, file))
    wait_until(lambda: scrape(cached)[0]["sonogate_shared_jobs_total"] == shared + 1)
    before = jobs(cached, result="cancelled")
    waiting[0].socket.close()
    time.sleep(0.3)
    assert busy(cached) == 1
    assert jobs(cached, result="cancelled") == before
    waiting[1].socket.close()
    wait_until(lambda: busy(cached) == 0, 5)
    assert jobs(cached, result="cancelled") == before + 1
    # Who asks again gets a job of its own, not the one that was stopped.
    again = begin(cached, file)
    wait_until(lambda: busy(cached) == 1)
    again.socket.close()
    wait_until(lambda: busy(cached) == 0, 5)


def test_a_worker_that_dies_under_many_waiters_is_replaced(serve):
    server = serve(pool=CACHE + "workers 1;", location="sonogate_max_body 64m;")
    file = wav(noise(5, 0.3))
    waiting = [begin(server, file)]
    wait_until(lambda: busy(server) == 1)
    waiting += [begin(server, file) for _ in range(2)]
    wait_until(lambda: scrape(server)[0]["sonogate_shared_jobs_total"] == 2)
    waiting[0].socket.close()
    for pid in server.pids("sonogated: worker"):
        server.kill(pid)
    for raw in waiting[1:]:
        with raw:
            assert raw.answer().status_code == 200
    assert jobs(server) == 1


def test_a_waiter_whose_nginx_worker_died_just_drops(serve):
    port = free_port()
    # reuseport: connections are spread over the workers by their addresses, not by who is idle.
    server = serve(pool=CACHE + "workers 1;", listen=f"listen 127.0.0.1:{port} reuseport;", location="sonogate_max_body 64m;")
    file = wav(noise(12, 0.3))
    server.port = port
    waiting = {}
    for _ in range(24):  # so that both nginx workers have some, but once in eight million times
        raw = begin(server, file)
        waiting[raw.socket.getsockname()[1]] = raw
    wait_until(lambda: scrape(server)[0]["sonogate_shared_jobs_total"] == len(waiting) - 1)
    victim = server.pids("nginx: worker")[0]
    lost = {c.raddr.port for c in psutil.Process(victim).connections("inet") if c.raddr} & set(waiting)
    assert 0 < len(lost) < len(waiting)
    server.kill(victim)
    for client_port, raw in waiting.items():
        with raw:
            if client_port not in lost:
                assert raw.answer().status_code == 200
    wait_until(lambda: jobs(server) == 1)


def test_each_waiter_has_its_own_deadline(serve):
    """The first is past its time when the second has half of it left; nobody gets an answer for another one's time."""
    server = serve(pool=CACHE + "workers 1; job_deadline 2s;", location="sonogate_max_body 64m;")
    file = wav(noise(300, 0.3))  # many times the deadline on any machine
    start = time.monotonic()
    first = begin(server, file)
    wait_until(lambda: busy(server) == 1)
    time.sleep(0.8)
    second = begin(server, file)
    joined = time.monotonic()
    with first, second:
        assert first.answer().status_code == 504
        assert 1.9 < time.monotonic() - start < 6
        assert second.answer().status_code == 504
        assert 1.9 < time.monotonic() - joined < 6


def test_http2_streams_share_too(serve):
    port = free_port()
    server = serve(pool=CACHE, listen=f"listen 127.0.0.1:{port} http2;", location="sonogate_max_body 64m;")
    file = new_sound()
    with httpx.Client(http1=False, http2=True, timeout=60) as client:
        out = [client.post(f"http://127.0.0.1:{port}/v1/analyze", content=file).json()["cache"] for _ in range(3)]
    assert out == ["miss", "hit", "hit"]
    assert outcome(server, file) == "hit"
