"""What a location bounds: size, length, decoded bytes, format and pace of an upload."""

import base64
import subprocess
import threading
import time

import numpy
import pytest

import http2
from contract import assert_job_answer, assert_problem
from metrics import scrape
from raw_http import RawConnection
from served import Served, free_port, places, reachable_folder, wait_until
from sounds import encode, noise, tone, wav, wav_of_size

PATH = "/v1/analyze"
KIB = 1 << 10
ORIGIN = {"Origin": "https://app.example.com"}
ENDPOINTS = ["/v1/analyze", "/v1/identify", "/v1/fingerprint", "/v1/tracks"]
@pytest.fixture(scope="module")
def server(tmp_path_factory):
    h2_port = free_port()
    served = Served(
        reachable_folder(tmp_path_factory, "limits"),
        listen=f"listen 127.0.0.1:{h2_port} http2;",
        server="sonogate_max_body 300k; sonogate_max_audio 4s; sonogate_cors *;",
        location=places(
            small="sonogate_max_body 100k;",
            page="sonogate_max_body 100k; error_page 413 /page;",
            list="sonogate_max_body 100k; error_page 413 = /v1/tracks;",
            copied="sonogate_max_body 100k; mirror /copy;",
            closed="sonogate_max_body 100k; deny all;",
            long="sonogate_max_body 20m; sonogate_max_audio off;",
            bytes="sonogate_max_body 20m; sonogate_max_audio off; sonogate_max_decoded 1m;",
            least="sonogate_min_audio 1500ms;",
            some="sonogate_formats flac ogg; sonogate_max_audio off;",
            pace="sonogate_max_body 20m; sonogate_max_audio off; sonogate_body_timeout 1s;",
            rate="sonogate_min_receive_rate 1k after=1s;",
            stalled="client_body_timeout 1s;",
        )
        + " } location = /copy { internal; return 204; } location = /page { client_max_body_size 1k; return 200 taken-over;",
    )
    served.h2_port, served.h2_base = h2_port, f"http://127.0.0.1:{h2_port}"
    yield served.start()
    served.stop()


def assert_too_large(answer, limit):
    problem = assert_problem(answer, 413, "body-too-large")
    assert problem["limit"] == limit
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return problem


# ---- sonogate_max_body


def test_the_largest_body_is_let_in_and_one_byte_more_is_not(server):
    assert_job_answer(server.post("/small" + PATH, data=wav_of_size(100 * KIB)), "analyze")
    problem = assert_too_large(server.post("/small" + PATH, data=wav_of_size(100 * KIB + 1), headers=ORIGIN), 100 * KIB)
    assert problem["value"] == 100 * KIB + 1
    # What the server block says is inherited, and takes the place of nginx's 1m.
    assert_job_answer(server.post(PATH, data=wav_of_size(300 * KIB)), "analyze")
    assert_too_large(server.post(PATH, data=wav_of_size(300 * KIB + 1), headers=ORIGIN), 300 * KIB)
    assert_job_answer(server.post("/long" + PATH, data=wav_of_size(2 << 20)), "analyze")


def test_a_declared_length_is_refused_before_100_continue(server):
    with RawConnection(server.port) as raw:
        raw.head("/small" + PATH, Content_Length=200 * KIB, Expect="100-continue")
        answer = raw.answer()
        assert answer.status_code == 413, "the body was asked for"
        assert answer.json()["type"] == "/problems/body-too-large"
        assert answer.headers["x-request-id"] == answer.json()["request_id"]
    with RawConnection(server.port) as raw:
        file = wav_of_size(90 * KIB)
        raw.head("/small" + PATH, Content_Length=len(file), Expect="100-continue")
        assert raw.answer().status_code == 100
        raw.send(file)
        assert raw.answer().status_code == 200


def test_a_declared_length_is_refused_before_any_byte_of_the_body(server):
    with RawConnection(server.port) as raw:
        raw.head("/small" + PATH, Content_Length=200 * KIB)
        assert raw.answer().status_code == 413


def test_a_chunked_body_is_refused_as_soon_as_it_passes(server):
    with RawConnection(server.port) as raw:
        raw.head("/small" + PATH, Transfer_Encoding="chunked")
        raw.chunk(bytes(60 * KIB))
        raw.chunk(bytes(60 * KIB))  # and no end
        answer = raw.answer()
        assert answer.status_code == 413
        assert answer.json()["limit"] == 100 * KIB
    assert_job_answer(server.post("/small" + PATH, data=iter([wav_of_size(100 * KIB)])), "analyze")


@pytest.mark.parametrize("declared", [True, False])
def test_http_2_has_the_same_bounds(server, tmp_path, declared):
    def frames(size):
        (tmp_path / "body").write_bytes(wav_of_size(size))
        length = [] if declared else ["--no-content-length"]
        argv = ["nghttp", "-v", *length, "-d", str(tmp_path / "body"), server.h2_base + "/small" + PATH]
        return subprocess.run(argv, capture_output=True, check=True, timeout=30).stdout.decode()

    assert ":status: 200" in frames(100 * KIB)
    told = frames(200 * KIB)
    assert ":status: 413" in told
    assert "/problems/body-too-large" in told
    assert "error_code=NO_ERROR" in told, "the client is to stop sending, and to read the answer"
    assert "too large" not in server.error_log(), "a line that no level of ours lowers"


def test_a_connection_is_usable_or_closed_after_a_refusal(server):
    with RawConnection(server.port) as raw:
        raw.head("/small" + PATH, Content_Length=100 * KIB + 1)
        raw.send(bytes(100 * KIB + 1))
        assert raw.answer().status_code == 413
        try:
            raw.head("/v1/tracks", method="GET")
            assert raw.answer().status_code == 200
        except (ConnectionError, BrokenPipeError):
            pass


def test_an_error_page_of_the_location_takes_over(server):
    answer = server.post("/page" + PATH, data=bytes(200 * KIB))
    assert (answer.status_code, answer.text) == (413, "taken-over")
    assert server.post("/page" + PATH, data=iter([bytes(200 * KIB)])).text == "taken-over"
    assert "tracks" in server.post("/list" + PATH, data=bytes(200 * KIB)).json()


def test_who_is_refused_for_the_length_is_so_before_anything_is_asked(server):
    assert_too_large(server.post("/closed" + PATH, data=bytes(100 * KIB + 1), headers=ORIGIN), 100 * KIB)
    assert_problem(server.post("/closed" + PATH, data=bytes(100 * KIB)), 403, "forbidden")
    assert_too_large(server.get("/small/health", data=bytes(100 * KIB + 1), headers=ORIGIN), 100 * KIB)


@pytest.mark.parametrize("path", ["/small", "/copied"])
def test_a_chunk_that_announces_too_much_is_not_waited_for(server, path):
    """mirror reads the body before us: what it takes is bounded too."""
    with RawConnection(server.port) as raw:
        raw.head(path + PATH, Transfer_Encoding="chunked")
        raw.chunk(bytes(90 * KIB))
        raw.send(f"{20 * KIB:x}\r\nx".encode())
        answer = raw.answer()
        assert (answer.status_code, answer.json()["limit"]) == (413, 100 * KIB)
        assert answer.headers["connection"] == "close"
    assert_job_answer(server.post(path + PATH, data=iter([wav_of_size(100 * KIB)])), "analyze")


# ---- sonogate_max_audio, sonogate_max_decoded, sonogate_min_audio


@pytest.mark.parametrize("path", ENDPOINTS)
def test_audio_beyond_its_bound_is_refused(server, path):
    problem = assert_problem(server.post(path, data=wav(noise(5, 0.3, rate_hz=16000), 16000)), 413, "audio-too-long")
    assert (problem["limit"], problem["value"]) == (4000, 5000)
    body = {"audio": base64.b64encode(wav(noise(5, 0.3, rate_hz=16000), 16000)).decode()}
    assert_problem(server.post(path, json=body), 413, "audio-too-long")


def test_audio_of_just_the_bound_is_let_in_and_off_is_no_bound(server):
    assert_job_answer(server.post(PATH, data=wav(tone(440, 4, rate_hz=16000), 16000)), "analyze")
    assert_job_answer(server.post("/long" + PATH, data=wav(tone(440, 60, rate_hz=16000), 16000)), "analyze")


def test_what_the_header_does_not_tell_is_found_while_decoding(server):
    bomb = encode("flac", wav(numpy.zeros(44100 * 600)))  # ten minutes in some kB
    assert len(bomb) < 200 * KIB
    problem = assert_problem(server.post(PATH, data=bomb), 413, "audio-too-long")
    assert problem["limit"] == 4000
    unknown = bytearray(bomb)  # STREAMINFO: a total of 0 samples is "not known"
    unknown[21] &= 0xF0
    unknown[22:26] = bytes(4)
    problem = assert_problem(server.post(PATH, data=bytes(unknown)), 413, "audio-too-long")
    assert 4000 < problem["value"] < 10_000, "decoded to its end"


def test_decoded_bytes_are_bounded_where_nothing_is_said(server):
    endless = bytearray(encode("flac", wav(tone(440, 1))))
    endless[21] |= 0x0F  # STREAMINFO: 2^36 - 1 samples, 18 days
    endless[22:26] = b"\xff" * 4
    problem = assert_problem(server.post("/long" + PATH, data=bytes(endless)), 413, "audio-too-long")
    assert problem["limit"] == (16 << 30) // 4 * 1000 // 44100


def test_decoded_bytes_are_bounded(server):
    mib_s = (1 << 20) / 4 / 44100  # seconds of mono that make 1 MiB
    fits, stereo = tone(440, mib_s - 0.01), numpy.stack([tone(440, mib_s - 0.01)] * 2, axis=1)
    assert_job_answer(server.post("/bytes" + PATH, data=encode("flac", wav(fits))), "analyze")
    problem = assert_problem(server.post("/bytes" + PATH, data=encode("flac", wav(stereo))), 413, "audio-too-long")
    assert problem["limit"] == pytest.approx(mib_s * 500, abs=2)
    assert_problem(server.post("/bytes" + PATH, data=encode("mp3-cbr", wav(tone(440, 8)))), 413, "audio-too-long")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_audio_below_its_least_is_too_short(server, path):
    short, enough = wav(noise(1.4, 0.3)), wav(noise(1.6, 0.3))
    problem = assert_problem(server.post("/least" + path, data=short), 422, "too-short")
    assert (problem["limit"], problem["value"]) == (1500, 1400)
    answer = server.post("/least" + path, data=enough)
    assert answer.status_code in (200, 201, 422)
    assert "limit" not in answer.json() or answer.json()["limit"] != 1500
    # It is the file that is short, not the part that is asked for.
    assert server.post("/least" + path + "?duration_s=0.5", data=short).json().get("limit") == 1500
    if path == PATH:
        assert_job_answer(server.post("/least" + path + "?duration_s=0.5", data=enough), "analyze")


def test_a_header_that_promises_more_does_not_make_audio_longer(server):
    lying = bytearray(wav(noise(1.0, 0.3)))
    lying[40:44] = (1 << 30).to_bytes(4, "little")
    assert_problem(server.post("/least" + PATH, data=bytes(lying)), 422, "too-short")


# ---- sonogate_formats


@pytest.mark.parametrize("path", ENDPOINTS)
def test_formats_that_are_not_let_in_are_415(server, path):
    for name in ("mp3-cbr", "aiff"):
        assert_problem(server.post("/some" + path, data=encode(name, wav(tone(440, 2)))), 415, "unsupported-format")
    assert_problem(server.post("/some" + path, data=wav(tone(440, 2))), 415, "unsupported-format")
    json_body = {"audio": base64.b64encode(wav(tone(440, 2))).decode()}
    assert_problem(server.post("/some" + path, json=json_body), 415, "unsupported-format")


@pytest.mark.parametrize("name", ["flac", "ogg-vorbis", "ogg-opus"])
def test_formats_that_are_let_in_go_through(server, name):
    assert_job_answer(server.post("/some" + PATH, data=encode(name, wav(tone(440, 2)))), "analyze")


# ---- sonogate_body_timeout, sonogate_min_receive_rate


def trickle(server, path, seconds, chunked=False, size=10 * KIB):
    """A body of which a few bytes come every tenth of a second; the answer, or None where there is none in time."""
    with RawConnection(server.port, timeout_s=10) as raw:
        raw.head(path, **({"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": size}))
        raw.socket.settimeout(0.1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            (raw.chunk if chunked else raw.send)(b"RIFF")
            try:
                raw._more()
            except TimeoutError:
                continue
            raw.socket.settimeout(10)
            return raw.answer()
    return None


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_takes_too_long_is_408(server, chunked):
    began = time.monotonic()
    answer = trickle(server, "/pace" + PATH, 8, chunked)
    assert 0.9 < time.monotonic() - began < 5
    assert answer.status_code == 408
    assert answer.json()["type"] == "/problems/upload-timeout"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_a_body_that_never_begins_is_408_too(server):
    with RawConnection(server.port, timeout_s=10) as raw:
        raw.head("/pace" + PATH, Content_Length=1000)
        assert raw.answer().status_code == 408
    assert_job_answer(server.post("/pace" + PATH, data=wav_of_size(10 << 20)), "analyze")


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("path", ["/pace", "/stalled"])
def test_over_http_2_it_is_408_with_the_same_body(server, path, declared):
    head = [(":method", "POST"), (":scheme", "http"), (":path", path + PATH), (":authority", "x"), ("origin", "https://app.example.com")]
    answer = http2.exchange(server.h2_port, head + [("content-length", "1000")] * declared, b"RIFF", timeout_s=10, ends=False)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"], problem["type"]) == (408, "application/problem+json", "/problems/upload-timeout")
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert answer.headers["access-control-allow-origin"] == "*"


def test_waiting_for_memory_is_not_the_senders_fault(serve):
    server = serve(pool="upload_memory 4m;", server="sonogate_max_body 4m;", location="sonogate_body_timeout 1s; " + places(slow=""))
    file = wav_of_size(3 << 20)
    answers = []
    with RawConnection(server.port) as occupant:
        occupant.head("/slow" + PATH, Content_Length=4 << 20)
        occupant.send(bytes(3 << 20))
        wait_until(lambda: scrape(server)[0]['sonogate_upload_memory_bytes{state="used"}'] >= 3 << 20)
        sender = threading.Thread(target=lambda: answers.append(server.post(PATH, data=file)))
        sender.start()
        time.sleep(2)  # twice what its sender has
        assert not answers, "it was not paused"
        occupant.reset()
    sender.join(30)
    assert_job_answer(answers[0], "analyze")


def test_a_sender_below_the_least_rate_is_408(server):
    """The mean counts, once the time that is everybody's is over."""
    began = time.monotonic()
    answer = trickle(server, "/rate" + PATH, 10)
    assert 0.9 < time.monotonic() - began < 5
    assert answer.status_code == 408
    file = wav_of_size(12 * KIB)
    with RawConnection(server.port) as raw:  # 10 kB/s: slower than most, faster than 1 kB/s
        raw.head("/rate" + PATH, Content_Length=len(file))
        for at in range(0, len(file), KIB):
            raw.send(file[at : at + KIB])
            time.sleep(0.12)
        assert raw.answer().status_code == 200
