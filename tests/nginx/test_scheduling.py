"""Whose job is next, which worker has it, and what is refused at the door.

Order is made certain by stopping the workers until everything waits. The broker misses a worker that stands still for
three seconds with a job: where a machine is too slow to have everything waiting by then, it is tried again.
"""

import contextlib
import functools
import signal
import threading
import time

import numpy
import pytest

from contract import assert_job_answer, assert_problem
from load import all_at_once
from metrics import scrape
from raw_http import RawConnection
from served import Served, is_running, places, reachable_folder, wait_until
from sounds import encode, tone, wav

REAL_IP = "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;"
MANY = 30
SLOW = "/v1/analyze?hop=256&features=levels"


def waiting(server):
    return scrape(server)[0]["sonogate_queue_depth"]


def ready(server):
    return scrape(server)[0]['sonogate_workers{state="ready"}']


def wanted(server):
    return scrape(server)[0]['sonogate_workers{state="wanted"}']


def moved(server):
    return scrape(server)[0]["sonogate_moved_jobs_total"]


class Crowd:
    """Requests that are all on their way at once; `order` is who was answered when."""

    def __init__(self, server):
        self.server, self.order, self.threads, self.answers = server, [], [], {}

    def send(self, name, path, data, address):
        def run():
            answer = self.server.post(path, data=data, headers={"X-Real-IP": address})
            self.order.append(name)
            self.answers[name] = answer

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)

    def join(self):
        for thread in self.threads:
            thread.join(90)
            assert not thread.is_alive(), "a request was never answered"


class Missed(AssertionError):
    """The broker ended a stopped worker before all was in place."""


@contextlib.contextmanager
def stopped(crowd, role="sonogated: worker"):
    """Those processes do nothing until the block ends."""
    server = crowd.server
    wait_until(lambda: ready(server) == wanted(server))
    pids = server.pids(role)
    assert pids
    for pid in pids:
        server.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        missed = [pid for pid in pids if not is_running(pid)]
        for pid in set(pids) - set(missed):
            with contextlib.suppress(ProcessLookupError):
                server.kill(pid, signal.SIGCONT)
        if missed:
            crowd.join()
            raise Missed(f"the broker missed {len(missed)} workers")


def again_where_missed(test):
    """A test that stops workers; on a server of its own, or on one that neither quarantines nor counts crashes."""

    @functools.wraps(test)
    def run(*arguments, **named):
        for _ in range(4):
            with contextlib.suppress(Missed):
                return test(*arguments, **named)
        return test(*arguments, **named)

    return run


@functools.cache
def clip(number):
    """Work enough that the order of answers is that of jobs."""
    return wav(tone(200 + 10 * number, 3))


def flood_then_one(server, flood, one, flood_address=lambda _: "192.0.2.1", one_address="192.0.2.2"):
    """How many of MANY jobs were answered before the one that came after all of them."""
    crowd = Crowd(server)
    with stopped(crowd):
        for i in range(MANY):
            crowd.send(f"flood {i}", flood, clip(i), flood_address(i))
        wait_until(lambda: waiting(server) >= MANY - 4)  # a worker has up to four
        before = waiting(server)
        crowd.send("one", one, clip(MANY), one_address)
        wait_until(lambda: waiting(server) == before + 1)
    crowd.join()
    for answer in crowd.answers.values():
        assert_job_answer(answer, "analyze")
    return crowd.order.index("one")


@pytest.fixture(scope="module")
def fair(tmp_path_factory):
    server = Served(
        reachable_folder(tmp_path_factory, "fair"),
        pool="workers 1; queue 256 timeout=60s; quarantine off; crash_budget off;",
        server=REAL_IP,
        location=places(batch="sonogate_priority batch;", asked="sonogate_priority $arg_urgency;"),
    )
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.mark.parametrize("address", [lambda _: "192.0.2.1", lambda i: f"2001:db8::{i + 1:x}"], ids=["one-address", "one-ipv6-network"])
@again_where_missed
def test_one_clients_flood_does_not_stand_before_a_strangers_job(fair, address):
    assert flood_then_one(fair, SLOW, SLOW, address) < MANY / 2


@again_where_missed
def test_within_one_client_the_first_come_is_the_first_served(fair):
    assert flood_then_one(fair, SLOW, SLOW, one_address="192.0.2.1") > MANY / 2


@pytest.mark.parametrize("batch", ["/batch/v1/analyze?hop=256", "/asked/v1/analyze?hop=256&urgency=batch"])
@again_where_missed
def test_interactive_jobs_go_before_batch_jobs_of_the_same_client(fair, batch):
    assert flood_then_one(fair, batch, SLOW, one_address="192.0.2.1") < MANY / 2


@again_where_missed
def test_a_batch_job_has_its_share_of_a_flood_of_interactive_ones(fair):
    assert flood_then_one(fair, SLOW, "/batch/v1/analyze?hop=256", one_address="192.0.2.1") < MANY


@again_where_missed
def test_a_batch_job_is_hastened_by_who_waits_for_the_same_answer(serve):
    """An interactive upload that joins a batch job is not held by it: both are answered before most of the flood."""
    server = serve(pool="workers 1; queue 256 timeout=60s; result_cache 8m;", server=REAL_IP, location=places(batch="sonogate_priority batch;"))
    crowd = Crowd(server)
    with stopped(crowd):
        for i in range(4):  # the worker has up to four
            crowd.send(f"first {i}", SLOW, clip(i), "192.0.2.1")
        wait_until(lambda: scrape(server)[0]["sonogate_tickets"] == 4)
        crowd.send("batch", "/batch" + SLOW, clip(MANY), "192.0.2.3")
        wait_until(lambda: waiting(server) >= 1 and scrape(server)[0]["sonogate_tickets"] == 5)
        for i in range(4, MANY):
            crowd.send(f"flood {i}", SLOW, clip(i), "192.0.2.1")
        wait_until(lambda: scrape(server)[0]["sonogate_tickets"] == MANY + 1)
        crowd.send("joins", SLOW, clip(MANY), "192.0.2.2")
        wait_until(lambda: scrape(server)[0]["sonogate_shared_jobs_total"] == 1)
    crowd.join()
    for answer in crowd.answers.values():
        assert_job_answer(answer, "analyze")
    # Eight jobs of the flood would buy the batch job its turn.
    assert crowd.order.index("joins") < 4 + 6


def test_a_word_that_is_no_priority_is_interactive(fair):
    assert_job_answer(fair.post("/asked/v1/analyze?urgency=yesterday", data=clip(1)), "analyze")


@again_where_missed
def test_in_a_full_queue_the_largest_gives_way(serve):
    server = serve(pool="workers 1; queue 8 timeout=60s;", server=REAL_IP)
    crowd = Crowd(server)
    with stopped(crowd):
        while waiting(server) < 8:  # and some, the worker has
            crowd.send(f"flood {len(crowd.threads)}", SLOW, clip(len(crowd.threads)), "192.0.2.1")
            wait_until(lambda: scrape(server)[0]["sonogate_tickets"] == len(crowd.threads))
        # The flooder itself has no more room, and is told so before its body.
        with RawConnection(server.port) as raw:
            raw.head(SLOW, Content_Length=len(clip(0)), X_Real_IP="192.0.2.1", Expect="100-continue")
            answer = raw.answer()
            assert answer.status_code == 503, "the body was asked for"
            assert answer.json()["type"] == "/problems/overloaded"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        with RawConnection(server.port) as raw:  # also where no ticket would be needed
            raw.head(SLOW, Content_Length=1000, X_Real_IP="192.0.2.1", Expect="100-continue")
            assert raw.answer().status_code == 503
        crowd.send("stranger", SLOW, clip(20), "192.0.2.2")
        wait_until(lambda: crowd.answers)
        (refused,) = crowd.answers.values()
        assert_problem(refused, 503, "overloaded")
        assert waiting(server) == 8
    crowd.join()
    assert_job_answer(crowd.answers["stranger"], "analyze")
    assert sorted(a.status_code for a in crowd.answers.values()) == [200] * (len(crowd.threads) - 1) + [503]


# ---- jobs that prove to be long


def silence(minutes, known_length=True):
    """Some hundred kB that decode to a long file; its header may not tell how long."""
    out = bytearray(encode("flac", wav(numpy.zeros(round(44100 * 60 * minutes)))))
    if not known_length:  # STREAMINFO: a total of 0 samples is "not known"
        out[21] &= 0xF0
        out[22:26] = bytes(4)
    return bytes(out)


@pytest.mark.parametrize("known_length", [True, False])
@again_where_missed
def test_a_small_file_that_decodes_for_minutes_leaves_the_worker_for_short_jobs(serve, known_length):
    server = serve(pool="workers 1; queue 64 timeout=60s;", server=REAL_IP)
    bomb, short = silence(10, known_length), wav(tone(440, 0.2))
    assert len(bomb) < 1 << 20
    assert_job_answer(server.post("/v1/analyze", data=short), "analyze")
    before = moved(server)
    crowd = Crowd(server)
    with stopped(crowd, "sonogated: worker 1"):  # the one for long jobs
        for i in range(4):
            crowd.send(f"bomb {i}", "/v1/analyze", bomb, "192.0.2.1")
        wait_until(lambda: moved(server) == before + 4, 60)
        assert_job_answer(server.post("/v1/analyze", data=short), "analyze")
        assert not crowd.answers
    crowd.join()
    for answer in crowd.answers.values():
        out = assert_job_answer(answer, "analyze")
        assert out["audio"]["duration_s"] == pytest.approx(600)


@again_where_missed
def test_a_job_that_cannot_end_in_time_is_refused_before_its_body(serve):
    """Once the daemon knows what such files take, and enough of them wait, one more is turned away; a stranger's is not."""
    server = serve(pool="workers 1; queue 256 timeout=6s;", server=REAL_IP)
    bomb = silence(5)

    def door(address):
        with RawConnection(server.port) as raw:
            raw.head(SLOW, Content_Length=len(bomb), X_Real_IP=address, Expect="100-continue")
            answer = raw.answer()
            raw.reset()
        return answer

    assert_job_answer(server.post(SLOW, data=bomb, headers={"X-Real-IP": "192.0.2.1"}), "analyze")
    crowd = Crowd(server)
    with stopped(crowd, "sonogated: worker 1"):
        for i in range(200):
            crowd.send(f"bomb {i}", SLOW, bomb, "192.0.2.1")
            wait_until(lambda: moved(server) >= i + 2 or crowd.answers, 60)  # noqa: B023
            answer = door("192.0.2.1")
            if answer.status_code == 503:
                break
        assert answer.status_code == 503, "never refused"
        assert answer.json()["type"] == "/problems/overloaded"
        assert int(answer.headers["retry-after"]) > 6, "computed from the queue"
        assert door("192.0.2.2").status_code == 100
    for thread in crowd.threads:
        thread.join(90)
    assert {a.status_code for a in crowd.answers.values()} <= {200, 503}


def test_no_core_idles_while_jobs_wait(serve):
    """Two workers a class; each has work as long as there is some, whoever sent it."""
    server = serve(pool="workers 2; queue 64 timeout=60s;", server=REAL_IP)
    file = silence(5)
    seen = []
    done = threading.Event()

    def watch():
        while not done.is_set():
            now = scrape(server)[0]
            if now['sonogate_queue_jobs{queue="long"}'] > 0:
                seen.append(now['sonogate_workers{state="busy"}'])
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answers = all_at_once(lambda _: server.post(SLOW, data=file, headers={"X-Real-IP": "192.0.2.1"}), 6)
    finally:
        done.set()
        watcher.join()
    for answer in answers:
        assert_job_answer(answer, "analyze")
    assert seen and sorted(seen)[len(seen) // 2] >= 2, seen
