"""SIGTERM and restarts of the daemon: what runs is finished, and under load no request is lost."""

import os
import re
import signal
import time

from contract import assert_job_answer, assert_problem
from load import FRESH, Load, all_at_once, every_kind
from served import is_running, wait_until
from sounds import noise, tone, wav

SHORT, LARGE = wav(tone(440, 0.5)), wav(noise(10, 0.3))
HOURS = "/v1/analyze?fft_size=262144&hop=16"  # of LARGE: 11,000 transforms of a quarter of a million points


def is_busy(server):
    return 'sonogate_workers{state="busy"} 0\n' not in server.get("/metrics", headers=FRESH).text


def broker_of(server):
    (broker,) = wait_until(lambda: server.pids("sonogated: broker"))  # the next one may be on its way
    return broker


def ended(server):
    """How the daemon's ends were, as scripts/serve tells them."""
    return re.findall(r"pool main ended (.*?);", server.output())


def post_in_background(server, path, data):
    """(a Load that holds one request, its answers)."""
    answers = []

    def work(_):
        if not answers:
            answers.append(server.post(path, data=data, headers=FRESH))
        time.sleep(0.05)

    return Load(work, 1), answers


def test_what_runs_is_finished_and_then_it_exits_with_0(serve):
    server = serve(location="sonogate_max_body 64m;")
    load, answers = post_in_background(server, "/v1/analyze?fft_size=8192&hop=32", LARGE)
    with load:
        wait_until(lambda: is_busy(server) or answers)
        broker = broker_of(server)
        os.kill(broker, signal.SIGTERM)
        wait_until(lambda: answers, 30)
    assert_job_answer(answers[0], "analyze")
    wait_until(lambda: not is_running(broker))
    wait_until(lambda: ended(server) == ["with status 0"])
    assert_job_answer(server.post("/v1/analyze", data=SHORT, headers=FRESH), "analyze")


def test_ready_says_so_and_what_is_not_finished_in_time_is_503_draining(serve):
    server = serve(pool="drain_timeout 7s;", location="sonogate_max_body 64m;")
    load, answers = post_in_background(server, HOURS, LARGE)
    with load:
        wait_until(lambda: is_busy(server))
        broker = broker_of(server)
        os.kill(broker, signal.SIGTERM)
        wait_until(lambda: not server.is_ready())
        answer = server.get("/ready", headers=FRESH)
        assert answer.json()["parts"]["link"]["state"] == "draining"
        assert int(answer.headers["Retry-After"]) >= 1
        # New requests wait for a successor a while; none comes before this daemon has ended.
        for late in all_at_once(lambda i: server.post("/v1/analyze", data=(SHORT, LARGE)[i], headers=FRESH), 2):
            assert_problem(late, 503, "draining")
        wait_until(lambda: answers, 30)
    assert_problem(answers[0], 503, "draining")
    wait_until(lambda: not is_running(broker))
    assert ended(server) == ["with status 0"]
    wait_until(server.is_ready)
    assert_job_answer(server.post("/v1/analyze", data=SHORT, headers=FRESH), "analyze")


def test_restarts_of_the_daemon_under_load_lose_no_request(serve):
    server = serve(location="sonogate_max_body 64m;")
    with Load(every_kind(server), 8) as load:
        for _ in range(4):
            broker, before = broker_of(server), len(load.done)
            os.kill(broker, signal.SIGTERM)
            wait_until(lambda b=broker: not is_running(b))
            wait_until(lambda n=before: load.failures or len(load.done) > n + 16)
    assert len(load.done) > 64
    assert ended(server) == ["with status 0"] * 4
    print(f"{len(load.done)} requests, 4 restarts, none lost")
