"""Bytes that are no good audio: the answer is the contract's, and the worker lives on."""

import struct

import numpy
import pytest

from contract import assert_job_answer, assert_problem
from sounds import encode, music, noise, tone, wav

STEREO = wav(numpy.stack([tone(440, 3), tone(880, 3)], axis=1))
PATHS = ["/v1/analyze", "/v1/identify", "/v1/fingerprint", "/v1/monitor", "/v1/tracks"]


def wav_with(channels=1, rate_hz=44100, bits=16, code=1, data=b"\0\0" * 4410, claimed=None, block=None):
    block = channels * bits // 8 if block is None else block
    claimed = len(data) if claimed is None else claimed
    fmt = struct.pack("<HHIIHH", code, channels, rate_hz, (rate_hz * block) & 0xFFFFFFFF, block & 0xFFFF, bits)
    return b"RIFF" + struct.pack("<I", min(36 + claimed, 0xFFFFFFFF)) + b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", claimed) + data


@pytest.fixture(autouse=True)
def the_workers_survive(server):
    before = set(server.pids("sonogated: worker"))
    yield
    assert set(server.pids("sonogated: worker")) == before


@pytest.mark.parametrize("path", PATHS)
def test_nothing_uploaded(server, path):
    assert_problem(server.post(path), 400, "missing-audio")
    assert_problem(server.post(path, data=b"", headers={"Content-Length": "0"}), 400, "missing-audio")
    assert_problem(server.post(path, data=iter([])), 400, "missing-audio")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [b"x", b"Hello, this is text and no audio.\n" * 50, b"\0" * 5000, b"%PDF-1.4\n" + b"x" * 3000, b"\x89PNG\r\n\x1a\n" + b"\0" * 3000, b"<html></html>"],
    ids=["byte", "text", "zeros", "pdf", "png", "html"],
)
def test_bytes_of_no_known_format(server, path, body):
    assert_problem(server.post(path, data=body, headers={"Content-Type": "audio/wav"}), 415, "unsupported-format")


@pytest.mark.parametrize("seed", range(12))
def test_random_bytes(server, seed):
    random = numpy.random.default_rng(seed)
    answer = server.post("/v1/analyze", data=random.bytes(int(random.integers(1, 300_000))))
    # Random bytes may look like an MPEG frame; they never decode to much.
    if answer.status_code != 200:
        assert answer.status_code in (415, 422)
        assert_problem(answer, answer.status_code, ("unsupported-format", "undecodable", "too-short"))


@pytest.mark.parametrize("family", ["RIFF\x00\x10\x00\x00WAVE", "fLaC", "OggS", "FORM\x00\x00\x10\x00AIFF", "caff\x00\x01\x00\x00", ".snd", "ID3\x04\x00\x00"])
@pytest.mark.parametrize("tail", [b"", b"\0" * 4000, b"\xff" * 4000], ids=["nothing", "zeros", "ones"])
def test_a_known_beginning_with_nothing_behind_it(server, family, tail):
    answer = server.post("/v1/analyze", data=family.encode("latin-1") + tail)
    assert answer.status_code in (415, 422), answer.text
    assert_problem(answer, answer.status_code, ("unsupported-format", "undecodable", "too-short"))


def test_a_wav_that_claims_4_gb_gives_what_is_there(server):
    data = (tone(440, 1, 0.5) * 32767).astype("<i2").tobytes()
    out = assert_job_answer(server.post("/v1/analyze", data=wav_with(data=data, claimed=0xFFFFFFF0)), "analyze")
    assert out["audio"]["frames"] == 44100
    assert out["audio"]["truncated"] is True
    assert out["peaks"][0]["frequency_hz"] == pytest.approx(440, abs=0.1)


@pytest.mark.parametrize("name", ["flac", "ogg-vorbis", "ogg-opus", "mp3-cbr", "aiff", "caf"])
def test_a_file_cut_in_the_middle_gives_its_first_half(server, name):
    file = encode(name, STEREO)
    out = assert_job_answer(server.post("/v1/analyze", data=file[: len(file) // 2]), "analyze")
    assert 0.5 < out["audio"]["duration_s"] < 2.5
    if not name.startswith("mp3"):  # a stream of frames may end anywhere
        assert out["audio"]["truncated"] is True


@pytest.mark.parametrize("name", ["flac", "ogg-vorbis", "ogg-opus", "mp3-cbr"])
def test_a_file_cut_anywhere_is_answered(server, name):
    file = encode(name, STEREO)
    for size in sorted({1, 3, 4, 5, 11, 27, 28, 41, 42, 100, 200, 500, len(file) - 1}):
        answer = server.post("/v1/analyze", data=file[:size])
        if answer.status_code == 200:
            assert_job_answer(answer, "analyze")
        else:
            assert answer.status_code in (415, 422), (size, answer.text)
            assert_problem(answer, answer.status_code, ("unsupported-format", "undecodable", "too-short"))


@pytest.mark.parametrize("name", ["flac", "ogg-vorbis", "ogg-opus", "mp3-cbr", "aiff"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_damaged_file_is_answered(server, name, seed):
    file = bytearray(encode(name, STEREO))
    random = numpy.random.default_rng(seed)
    for at in random.integers(0, len(file), 60):
        file[at] = random.integers(0, 256)
    answer = server.post("/v1/analyze", data=bytes(file))
    if answer.status_code == 200:
        assert_job_answer(answer, "analyze")
    else:
        assert answer.status_code in (415, 422), answer.text
        assert_problem(answer, answer.status_code)


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf, 1e38])
def test_samples_that_are_no_numbers_never_reach_the_json(server, bad):
    samples = tone(440, 1, 0.5).astype("<f4")
    samples[1000:1010] = bad
    for path in PATHS[:3]:
        answer = server.post(path + "?spectrum=mean", data=wav(samples, bits=32))
        if answer.status_code == 200:
            assert_job_answer(answer, None)
        else:
            assert_problem(answer, 422)
    samples[:] = bad
    answer = server.post("/v1/analyze?spectrum=mean", data=wav(samples, bits=32))
    if answer.status_code == 200:
        assert_job_answer(answer, "analyze")
    else:
        assert_problem(answer, 422)


@pytest.mark.parametrize(
    "header",
    [{"channels": 0}, {"channels": 255}, {"channels": 65535}, {"rate_hz": 0}, {"rate_hz": 1}, {"rate_hz": 10_000_000}, {"rate_hz": 0xFFFFFFFF},
     {"bits": 0}, {"bits": 1}, {"bits": 65535}, {"code": 0x9999}, {"code": 0}, {"block": 0}, {"claimed": 1}],
    ids=str,
)  # fmt: skip
def test_a_lying_wav_header_is_answered(server, header):
    for path in PATHS:
        answer = server.post(path, data=wav_with(**header))
        if answer.status_code in (200, 201):
            assert_job_answer(answer, None, answer.status_code)
        else:
            assert answer.status_code in (415, 422), answer.text
            assert_problem(answer, answer.status_code)


def test_zero_frames_are_too_short(server):
    for path in PATHS:
        answer = server.post(path, data=wav_with(data=b""))
        if path == "/v1/identify" and answer.status_code == 200:
            assert answer.json()["reason"] == "too_short"
        else:
            assert_problem(answer, 422, "too-short")


def test_a_silent_track_is_refused_but_silence_can_be_analysed(server):
    silence = wav(numpy.zeros(44100 * 12))
    assert_problem(server.post("/v1/tracks", data=silence), 422, "silent")
    assert_job_answer(server.post("/v1/analyze", data=silence), "analyze")


def test_a_whole_transform_beyond_the_memory_of_a_job_is_refused(serve):
    server = serve(pool="job_memory 64m;", location="sonogate_max_body 256m;")
    hour = wav(numpy.tile(noise(10, 0.3), 90))  # 15 minutes: 40 million samples
    assert_problem(server.post("/v1/analyze?fft_size=0", data=hour), 422, "job-too-large")
    assert_job_answer(server.post("/v1/analyze", data=hour), "analyze")


def test_longer_than_max_audio_is_refused(serve):
    server = serve(location="sonogate_max_audio 5s;")
    assert_job_answer(server.post("/v1/analyze", data=wav(tone(440, 4.9))), "analyze")
    problem = assert_problem(server.post("/v1/analyze", data=wav(tone(440, 6))), 413, "audio-too-long")
    assert problem["limit"]
    # A compressed file does not say how long it is: an hour of silence is a few kB of FLAC.
    assert_problem(server.post("/v1/analyze", data=encode("flac", wav(numpy.zeros(44100 * 60)))), 413, "audio-too-long")
    assert_problem(server.post("/v1/analyze", data=encode("mp3-cbr", wav(music(1, 20)))), 413, "audio-too-long")
