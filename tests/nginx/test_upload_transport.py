"""Every size, framing and protocol brings the bytes to the worker as they were sent."""

import hashlib
import json
import os
import subprocess

import pytest

from contract import assert_job_answer, assert_problem
from raw_http import RawConnection
from sounds import tone, wav, wav_of_size

KIB, MIB = 1 << 10, 1 << 20
# Around the bounds of the design: header buffer, ticket (64 KiB), warm slab (8 MiB).
SIZES = [46, 100, 1000, 4 * KIB, 16 * KIB + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 300_001, MIB, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB, 100 * 1000 * 1000]
PATH = "/v1/analyze?features=levels&peaks=0"


def assert_is(answer, file):
    assert assert_job_answer(answer, "analyze")["audio"]["sha256"] == hashlib.sha256(file).hexdigest()


def assert_raw_is(answer, file):
    assert answer.status_code == 200, answer.content[:300]
    assert answer.json()["audio"]["sha256"] == hashlib.sha256(file).hexdigest()


def pieces(file, size):
    for i in range(0, len(file), size):
        yield file[i : i + size]


@pytest.mark.parametrize("size", SIZES)
def test_a_body_with_a_length(server, size):
    file = wav_of_size(size)
    assert_is(server.post(PATH, data=file), file)


@pytest.mark.parametrize("size", SIZES)
def test_a_chunked_body(server, size):
    file = wav_of_size(size)
    assert_is(server.post(PATH, data=pieces(file, 100_003)), file)


def test_one_byte(server):
    assert_problem(server.post(PATH, data=b"R"), 415, "unsupported-format")
    assert_problem(server.post(PATH, data=iter([b"R"])), 415, "unsupported-format")


@pytest.mark.parametrize("size", [100, 64 * KIB, 64 * KIB + 1, 9 * MIB, 100 * 1000 * 1000])
@pytest.mark.parametrize("chunked", [False, True])
def test_http_2(server, size, chunked, tmp_path):
    file = wav_of_size(size)
    (tmp_path / "body").write_bytes(file)
    upload = ["-X", "POST", "-T", "-"] if chunked else ["--data-binary", f"@{tmp_path}/body"]
    with open(tmp_path / "body", "rb") as body:
        out = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "-H", "Content-Type: audio/wav", "-w", "\n%{http_version} %{http_code}", *upload, server.h2_base + PATH],
            stdin=body, capture_output=True, check=True, timeout=120,
        ).stdout.decode()  # fmt: skip
    body, _, code = out.rpartition("\n")
    assert code == "2 200", out
    assert json.loads(body)["audio"]["sha256"] == hashlib.sha256(file).hexdigest()


def test_many_http_2_streams_of_one_connection(server, tmp_path):
    (tmp_path / "body").write_bytes(wav_of_size(200_000))
    out = subprocess.run(
        ["nghttp", "-n", "-s", "-m", "40", "-d", tmp_path / "body", "-H", "content-type: audio/wav", server.h2_base + PATH],
        capture_output=True, check=True, timeout=120, text=True,
    ).stdout  # fmt: skip
    answers = [line.split()[4] for line in out.splitlines() if line.rstrip().endswith("/v1/analyze?features=levels&peaks=0")]
    assert answers == ["200"] * 40, out[-2000:]


def test_errors_over_http_2_are_problems_too(server, tmp_path):
    (tmp_path / "body").write_bytes(b"text" * 100_000)
    out = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "-w", "\n%{http_code} %{content_type}", "--data-binary", f"@{tmp_path}/body", server.h2_base + PATH],
        capture_output=True, check=True, timeout=60, text=True,
    ).stdout  # fmt: skip
    assert out.endswith("\n415 application/problem+json"), out


@pytest.mark.parametrize("size", [1000, 300_001, 9 * MIB])
def test_expect_100_continue_is_told_to_go_on(server, size):
    file = wav_of_size(size)
    with RawConnection(server.port) as raw:
        raw.head(PATH, Content_Length=len(file), Expect="100-continue")
        assert raw.answer().status_code == 100
        raw.send(file)
        assert_raw_is(raw.answer(), file)


def test_expect_100_continue_is_refused_without_asking_for_the_body(server):
    for head, status in (({"path": PATH, "Content_Length": 300 * MIB}, 413), ({"path": "/v1/nothing", "Content_Length": 5000}, 404), ({"path": PATH, "method": "PUT", "Content_Length": 5000}, 405)):
        with RawConnection(server.port) as raw:
            raw.head(Expect="100-continue", **head)
            assert raw.answer().status_code == status


def test_too_large_is_413_before_and_while_it_arrives(serve):
    server = serve(location="sonogate_max_body 1m;")
    small = wav_of_size(MIB - 1)
    assert_is(server.post(PATH, data=small), small)
    for body in (wav_of_size(MIB + 1), wav_of_size(5 * MIB)):
        problem = assert_problem(server.post(PATH, data=body), 413, "body-too-large")
        assert problem["limit"] == MIB
        assert_problem(server.post(PATH, data=pieces(body, 65536)), 413, "body-too-large")
    assert_is(server.post(PATH, data=small), small)


def test_keep_alive_carries_many_different_bodies(server):
    with RawConnection(server.port) as raw:
        for size in (46, 70_000, 5, 3 * MIB, 1000, 64 * KIB, 9 * MIB, 100) * 3:
            file = wav_of_size(max(size, 46), seed=size)
            raw.head(PATH, Content_Length=len(file))
            raw.send(file)
            assert_raw_is(raw.answer(), file)


def test_errors_keep_the_connection_where_the_body_was_read(server):
    file = wav(tone(seconds=0.2))
    with RawConnection(server.port) as raw:
        for _ in range(5):
            raw.head(PATH, Content_Length=400)
            raw.send(b"t" * 400)
            assert raw.answer().status_code == 415
            raw.head(PATH, Content_Length=len(file))
            raw.send(file)
            assert_raw_is(raw.answer(), file)


@pytest.mark.parametrize("size", [1000, 30_000, 200_000])
def test_pipelined_requests_are_answered_in_order(server, size):
    files = [wav_of_size(size + i, seed=i) for i in range(6)]
    with RawConnection(server.port) as raw:
        requests = b"".join(
            f"POST {PATH} HTTP/1.1\r\nHost: h\r\nX-Request-Id: r{i}\r\nContent-Length: {len(f)}\r\n\r\n".encode() + f for i, f in enumerate(files)
        )
        raw.send(requests)
        for i, file in enumerate(files):
            answer = raw.answer()
            assert answer.headers["x-request-id"] == f"r{i}"
            assert_raw_is(answer, file)


@pytest.mark.parametrize("size", [1, 7, 1000, 40_000])
def test_chunks_of_every_size(server, size):
    file = wav_of_size(size * 50 + 46)
    with RawConnection(server.port) as raw:
        raw.head(PATH, Transfer_Encoding="chunked")
        for piece in pieces(file, size):
            raw.chunk(piece)
        raw.send(b"0\r\nX-Trailer: ignored\r\n\r\n")
        assert_raw_is(raw.answer(), file)


def test_a_chunked_request_may_be_pipelined_too(server):
    file = wav_of_size(5000)
    with RawConnection(server.port) as raw:
        one = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{len(file):x}\r\n".encode() + file + b"\r\n0\r\n\r\n"
        raw.send(one * 4)
        for _ in range(4):
            assert_raw_is(raw.answer(), file)


@pytest.mark.parametrize("framing", ["zz\r\n", "-5\r\nabcde\r\n", "ffffffffffffffffff\r\n", "5\r\nabcdeXX"])
def test_broken_chunks_are_refused(server, framing):
    with RawConnection(server.port) as raw:
        raw.head(PATH, Transfer_Encoding="chunked")
        raw.send(framing.encode())
        answer = raw.answer()
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_large_result_comes_whole(server):
    answer = server.post("/v1/analyze?spectrum=mean&fft_size=1048576", data=wav(tone(440, 30)))
    assert len(answer.content) > 2 * MIB
    assert len(assert_job_answer(answer, "analyze")["spectrum"]["mean_db"]) == 524_289


def test_no_temporary_file_is_made(server):
    for size in (300_000, 20 * MIB):
        server.post(PATH, data=wav_of_size(size))
    written = [os.path.join(f, n) for f, _, names in os.walk(server.state) for n in names if "temp" in f or "/tmp" in f.removeprefix(server.state)]
    assert not written
