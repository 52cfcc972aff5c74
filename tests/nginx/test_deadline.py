"""A job past its deadline is 504, and its worker is free again."""

import signal
import time

from contract import assert_job_answer, assert_problem
from load import all_at_once
from served import wait_until
from sounds import noise, tone, wav

HEAVY = "/v1/analyze?fft_size=65536&hop=32"


def test_a_job_past_its_deadline_is_504_and_the_worker_free(serve):
    server = serve(pool="workers 1; job_deadline 1s;", location="sonogate_max_body 256m;")
    file = wav(noise(300, 0.3))
    for _ in range(3):
        start = time.monotonic()
        assert_problem(server.post(HEAVY, data=file), 504, "deadline-exceeded")
        assert 0.8 < time.monotonic() - start < 6
    start = time.monotonic()
    assert_job_answer(server.post("/v1/analyze", data=wav(tone())), "analyze")
    assert time.monotonic() - start < 3


def test_the_daemon_tells_of_which_trace_a_request_was(serve):
    server = serve(pool="workers 1; job_deadline 1s;")
    for worker in server.pids("sonogated: worker"):
        server.kill(worker, signal.SIGSTOP)  # it cannot end the job itself
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-Id": "traced-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert_problem(server.post("/v1/analyze", data=wav(tone()), headers=headers), 504, "deadline-exceeded")
    wait_until(lambda: f"request traced-1 of trace {trace}: past its deadline" in server.daemon_log())


def test_a_whole_transform_has_the_deadline_too(serve):
    """One FFT call asks nobody whether to stop."""
    server = serve(pool="workers 1; job_deadline 1s; job_memory 4g;", location="sonogate_max_body 256m;")
    file = wav(noise(20 * 60, 0.3))
    start = time.monotonic()
    answer = server.post("/v1/analyze?fft_size=0", data=file)
    if answer.status_code == 200:
        assert time.monotonic() - start < 2.5  # a fast machine
    else:
        assert_problem(answer, 504, "deadline-exceeded")
    assert_job_answer(server.post("/v1/analyze", data=wav(tone())), "analyze")


def test_waiting_in_the_queue_counts(serve):
    server = serve(pool="workers 1; queue 64 timeout=1s; job_deadline 60s;", location="sonogate_max_body 64m;")
    file = wav(noise(40, 0.3))
    answers = all_at_once(lambda _: server.post("/v1/analyze?fft_size=16384&hop=64", data=file), 12)
    for answer in answers:
        if answer.status_code != 200:
            assert_problem(answer, 503, "overloaded")
    assert any(a.status_code == 200 for a in answers)
