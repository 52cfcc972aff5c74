"""Little upload memory, many large uploads: all end, none for ever."""

import time

import pytest
import requests

from contract import assert_job_answer, assert_problem
from load import all_at_once
from raw_http import RawConnection
from sounds import wav_of_size

MIB = 1 << 20
PATH = "/v1/analyze?features=levels&peaks=0"


@pytest.fixture
def small(serve):
    return serve(pool="upload_memory 32m;", location="sonogate_max_body 16m; client_body_timeout 30s;")


def pieces(file, pause_s=0.0):
    for i in range(0, len(file), 1 << 18):
        yield file[i : i + (1 << 18)]
        time.sleep(pause_s)


def outcome(send):
    """The status; an early 503 may reset a client that goes on sending."""
    try:
        answer = send()
    except requests.ConnectionError:
        return 0
    if answer.status_code != 200:
        assert_problem(answer, 503, "overloaded")
    else:
        assert_job_answer(answer, "analyze")
    return answer.status_code


@pytest.mark.parametrize("chunked", [False, True])
def test_many_large_uploads_all_end(small, chunked):
    file = wav_of_size(12 * MIB)
    start = time.monotonic()
    outcomes = all_at_once(lambda _: outcome(lambda: small.post(PATH, data=pieces(file) if chunked else file)), 24)
    assert time.monotonic() - start < 90
    assert outcomes.count(200) >= 2, outcomes
    assert outcomes.count(0) == 0, outcomes
    assert_job_answer(small.post(PATH, data=file), "analyze")


def test_slow_uploads_that_together_need_more_than_there_is(small):
    file = wav_of_size(12 * MIB)
    outcomes = all_at_once(lambda i: outcome(lambda: small.post(PATH, data=pieces(file, 0.02 + 0.003 * i))), 8)
    assert outcomes.count(200) >= 2, outcomes
    assert_job_answer(small.post(PATH, data=file), "analyze")


def test_uploads_that_stall_do_not_lock_out_the_others(serve):
    server = serve(pool="upload_memory 32m;", location="sonogate_max_body 16m; client_body_timeout 2s;")
    file = wav_of_size(12 * MIB)
    stalled = []
    for _ in range(4):
        raw = RawConnection(server.port)
        raw.head(PATH, Content_Length=len(file))
        raw.socket.settimeout(3)
        try:
            raw.send(file[: 10 * MIB])
        except TimeoutError:
            pass
        stalled.append(raw)
    deadline = time.monotonic() + 60
    while outcome(lambda: server.post(PATH, data=file)) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    for raw in stalled:
        raw.reset()


def test_memory_comes_back_after_each_upload(small):
    file = wav_of_size(15 * MIB)
    for _ in range(12):
        assert_job_answer(small.post(PATH, data=file), "analyze")
    gone = []
    for _ in range(6):
        raw = RawConnection(small.port)
        raw.head(PATH, Content_Length=len(file))
        raw.send(file[: 4 * MIB])
        gone.append(raw)
    for raw in gone:
        raw.reset()
    assert_job_answer(small.post(PATH, data=file), "analyze")
