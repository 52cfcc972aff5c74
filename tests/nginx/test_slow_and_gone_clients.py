"""Clients that are slow, stop, or leave: they cost nobody else anything."""

import hashlib
import select
import socket
import time

import pytest

from contract import assert_job_answer
from raw_http import RawConnection
from served import wait_until
from sounds import noise, tone, wav, wav_of_size

PATH = "/v1/analyze?features=levels&peaks=0"


def assert_serves(server):
    assert_job_answer(server.post("/v1/analyze", data=wav(tone(seconds=0.2))), "analyze")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_trickle_is_put_together(server, chunked):
    file = wav_of_size(20_000)
    with RawConnection(server.port) as raw:
        raw.head(PATH, **({"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": len(file)}))
        for i in range(0, len(file), 1000):
            (raw.chunk if chunked else raw.send)(file[i : i + 1000])
            time.sleep(0.05)
        if chunked:
            raw.send(b"0\r\n\r\n")
        assert raw.answer().json()["audio"]["sha256"] == hashlib.sha256(file).hexdigest()


def test_a_head_that_comes_byte_by_byte(server):
    file = wav_of_size(500)
    with RawConnection(server.port) as raw:
        for byte in f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(file)}\r\n\r\n".encode():
            raw.send(bytes([byte]))
        raw.send(file)
        assert raw.answer().status_code == 200


@pytest.mark.parametrize("sent", [0, 1000, 100_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_stops_sending_is_timed_out(serve, sent, chunked):
    server = serve(location="client_body_timeout 1s;")
    with RawConnection(server.port) as raw:
        raw.head(PATH, **({"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": 200_000}))
        if sent:
            (raw.chunk if chunked else raw.send)(wav_of_size(200_000)[:sent])
        answer = raw.answer()
        assert answer.status_code == 408
        assert answer.json()["type"] == "/problems/upload-timeout"
    assert_serves(server)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_clients_that_leave_anywhere_leave_nothing_behind(server, how):
    file = wav_of_size(3_000_000)
    assert_serves(server)

    def leave(raw):
        raw.reset() if how == "reset" else raw.socket.close()

    for round_number in range(12):
        for share in (0, 0.001, 0.02, 0.5, 0.99, 1):
            raw = RawConnection(server.port)
            chunked = round_number % 2
            raw.head(PATH, **({"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": len(file)}))
            piece = file[: int(len(file) * share)]
            if chunked and piece:
                raw.chunk(piece)
            elif piece:
                raw.send(piece)
            leave(raw)
    assert_serves(server)
    settle = [server.descriptors("nginx: worker") + server.descriptors("sonogated")]

    def is_settled():
        settle.append(server.descriptors("nginx: worker") + server.descriptors("sonogated"))
        return settle[-1] == settle[-2]

    wait_until(is_settled, step=0.5)
    before = settle[-1]
    for _ in range(60):  # and the same again costs no further descriptor
        raw = RawConnection(server.port)
        raw.head(PATH, Content_Length=len(file))
        raw.send(file[:2_000_000])
        leave(raw)
    wait_until(lambda: server.descriptors("nginx: worker") + server.descriptors("sonogated") <= before + 2)
    assert_serves(server)


def test_a_client_that_leaves_frees_its_worker(serve):
    server = serve(pool="workers 1;", location="sonogate_max_body 256m;")
    long_job = wav(noise(600, 0.3))
    for _ in range(6):
        raw = RawConnection(server.port)
        raw.head("/v1/analyze?fft_size=1048576&hop=256", Content_Length=len(long_job))
        raw.send(long_job)
        time.sleep(0.2)
        raw.reset()
    start = time.monotonic()
    assert_serves(server)
    # Six such jobs take a minute and more; cancelled ones end at their next block.
    assert time.monotonic() - start < 10


def test_a_slow_reader_gets_the_whole_of_a_large_result_though_its_worker_died(serve):
    server = serve()
    file = wav(tone(440, 25))
    with RawConnection(server.port) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        raw.head("/v1/analyze?spectrum=mean&fft_size=1048576", Content_Length=len(file))
        raw.send(file)
        select.select([raw.socket], [], [], 30)  # its answer has begun, and fits no socket buffer
        for worker in server.pids("sonogated: worker"):
            server.kill(worker)
        time.sleep(1)
        answer = raw.answer()
    assert len(answer.content) > 2_000_000
    assert len(answer.json()["spectrum"]["mean_db"]) == 524_289
    assert_serves(server)


def test_many_idle_uploads_do_not_keep_others_out(server):
    idle = []
    try:
        for _ in range(200):
            raw = RawConnection(server.port)
            raw.head(PATH, Content_Length=1_000_000)
            raw.send(b"RIFF")
            idle.append(raw)
        for _ in range(5):
            assert_serves(server)
    finally:
        for raw in idle:
            raw.reset()
