"""sonogate_concurrency: so many jobs of one caller at once, and none is counted any more when it is over."""

import contextlib
import os
import random
import re
import signal
import time

import pytest
import requests

from contract import assert_job_answer, assert_problem
from load import Load
from raw_http import RawConnection
from served import Served, reachable_folder, wait_until
from sounds import noise, tone, wav, wav_of_size

SMALL = wav(tone(440, 0.1))
LARGE = wav_of_size(200_000)  # has a ticket before its first byte
QUICK = "/v1/analyze?features=levels&peaks=0"
NEVER_DONE = "/v1/analyze?hop=16&fft_size=262144"  # of a minute: more than its deadline allows on any machine


def counted(server):
    text = server.get("/metrics").text
    return {name: int(value) for name, value in re.findall(r"^sonogate_(tickets|concurrency_tickets|concurrency_callers) (\d+)$", text, re.M)}


def ask(server, key, path=QUICK, data=SMALL):
    return server.post(path, data=data, headers={"X-Key": key})


@contextlib.contextmanager
def uploads(server, key, count, path=QUICK):
    """That many that were let in and do not end."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(RawConnection(server.port)) for _ in range(count)]
        for raw in held:
            raw.head(path, Content_Length=len(LARGE), X_Key=key, Expect="100-continue")
            assert raw.answer().status_code == 100
            raw.send(LARGE[:1000])
        yield held


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    server = Served(
        reachable_folder(tmp_path_factory, "limited"),
        pool="workers 1;",
        location="client_body_timeout 20s;",
        server="""
            sonogate_concurrency 2 key=$http_x_key;
            location /again { rewrite ^/again(/.*)$ $1 break; sonogate_pass main; }
            location /more { rewrite ^/more(/.*)$ $1 break; sonogate_pass main; sonogate_concurrency 3 key=$http_x_key; }
            location /address { rewrite ^/address(/.*)$ $1 break; sonogate_pass main; sonogate_concurrency 2; }
            location /free { rewrite ^/free(/.*)$ $1 break; sonogate_pass main; sonogate_concurrency off; }
        """,
    )
    try:
        yield server.start()
    finally:
        server.stop()


def test_one_more_than_may_be_worked_on_is_503_and_waits_for_one_to_end(limited):
    with uploads(limited, "a", 2) as held:
        assert counted(limited) == {"tickets": 2, "concurrency_tickets": 2, "concurrency_callers": 1}
        for data in (LARGE, SMALL):
            problem = assert_problem(ask(limited, "a", data=data), 503, "concurrency-limited")
            assert problem["limit"] == 2
        assert limited.get("/v1/tracks", headers={"X-Key": "a"}).status_code == 503
        assert_job_answer(ask(limited, "b"), "analyze")
        held[0].send(LARGE[1000:])
        assert held[0].answer().status_code == 200
        assert_job_answer(ask(limited, "a", data=LARGE), "analyze")
    wait_until(lambda: counted(limited)["tickets"] == 0)


def test_the_large_upload_is_refused_before_its_body(limited):
    with uploads(limited, "door", 2), RawConnection(limited.port) as raw:
        raw.head(QUICK, Content_Length=len(LARGE), X_Key="door", Expect="100-continue")
        assert raw.answer().status_code == 503


def test_locations_with_the_same_bound_share_it_and_others_do_not(limited):
    with uploads(limited, "c", 2):
        assert ask(limited, "c", "/again" + QUICK).status_code == 503
        assert ask(limited, "c", "/more" + QUICK).status_code == 200
        assert ask(limited, "c", "/free" + QUICK).status_code == 200
        assert ask(limited, "c", "/address" + QUICK).status_code == 200


def test_without_a_key_it_is_the_identity_that_counts(limited):
    with uploads(limited, "d", 1, "/address" + QUICK), uploads(limited, "e", 1, "/address" + QUICK):
        assert ask(limited, "f", "/address" + QUICK).status_code == 503


def test_small_bodies_count_while_their_jobs_wait_and_run(limited):
    long_file = wav(noise(20, 0.3))
    with Load(lambda _: limited.post("/free/v1/analyze?hop=64&fft_size=16384", data=long_file).status_code, 2) as load:
        wait_until(lambda: counted(limited)["tickets"] == 2)
        answers = []
        with Load(lambda _: answers.append(ask(limited, "small").status_code), 6):
            wait_until(lambda: 503 in answers)
    assert set(load.done) == {200}
    wait_until(lambda: counted(limited)["tickets"] == 0)
    assert ask(limited, "small").status_code == 200


def test_who_never_ends_properly_is_not_counted_for_ever(serve):
    """Answers, aborts, timeouts, deadlines, deaths of every part, reloads and drains, mixed: at the end nobody holds anything."""
    server = serve(pool="workers 2; job_deadline 2s; drain_timeout 1s;", location="sonogate_concurrency 2 key=$http_x_key; client_body_timeout 1s; sonogate_max_body 8m;")
    long_file = wav(noise(60, 0.3))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    server.allowed_in_log.append(r"worker process \d+ exited on signal 9")

    def abort(key, sent):
        with RawConnection(server.port, 10) as raw:
            raw.head(QUICK, Content_Length=len(LARGE), X_Key=key)
            raw.send(LARGE[:sent])
            time.sleep(rng.random() * 0.1)
            raw.reset()

    def time_out(key):
        with RawConnection(server.port, 10) as raw:
            raw.head(QUICK, Content_Length=len(LARGE), X_Key=key)
            raw.send(LARGE[:100])
            raw.is_closed()

    def work(i):
        key = f"k{i % 3}"
        try:
            kind = rng.randrange(6)
            if kind == 0:
                abort(key, rng.choice([0, 1000, len(LARGE)]))
            elif kind == 1:
                time_out(key)
            elif kind == 2:
                return server.post(NEVER_DONE, data=long_file, headers={"X-Key": key}, timeout=rng.choice([0.2, 10])).status_code
            else:
                return ask(server, key, data=rng.choice([SMALL, LARGE])).status_code
        except (OSError, requests.RequestException):
            pass
        return None

    with Load(work, 8) as load:
        for role in ("reload", "sonogated: worker", "nginx: worker", "sonogated: librarian", "drain", "reload", "sonogated: broker", "sonogated: worker", "sonogated: zygote"):
            time.sleep(1)
            if role == "reload":
                server.reload()
                continue
            pids = wait_until(lambda r=role: server.pids("sonogated: broker" if r == "drain" else r))
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(pids), signal.SIGTERM if role == "drain" else signal.SIGKILL)
    server.wait_ready()
    assert_problem(server.post(NEVER_DONE, data=long_file, headers={"X-Key": "late"}), 504, "deadline-exceeded")
    statuses = {s: load.done.count(s) for s in set(load.done)}
    print(statuses)
    assert statuses.get(200, 0) > 10 and statuses.get(503, 0) > 0
    wait_until(lambda: counted(server) == {"tickets": 0, "concurrency_tickets": 0, "concurrency_callers": 0}, 20)
    for key in ("k0", "k1", "k2"):
        assert ask(server, key, data=LARGE).status_code == 200
