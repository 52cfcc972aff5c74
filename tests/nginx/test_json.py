"""application/json bodies: base64 audio, parameters as members."""

import base64
import hashlib
import json

import pytest

from contract import assert_job_answer, assert_problem
from sounds import tone, wav, wav_of_size

FILE = wav(tone(440, 0.5))
TEXT = base64.b64encode(FILE).decode()


def send(server, body, path="/v1/analyze", content_type="application/json"):
    body = body if isinstance(body, bytes | str) else json.dumps(body)
    return server.post(path, data=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize("size", [100, 5000, 65536, 1 << 20, 12 << 20])
def test_the_digest_is_of_the_audio_not_of_the_json(server, size):
    file = wav_of_size(size)
    out = assert_job_answer(send(server, {"audio": base64.b64encode(file).decode()}), "analyze")
    assert out["audio"]["sha256"] == hashlib.sha256(file).hexdigest()


def test_members_are_parameters_in_their_own_types(server):
    out = assert_job_answer(send(server, {"audio": TEXT, "fft_size": 512, "hop": 64, "spectrum": "mean", "peaks": 3, "start_s": 0.1, "features": "levels"}), "analyze")
    assert (out["spectrum"]["fft_size"], out["spectrum"]["hop"]) == (512, 64)
    assert len(out["peaks"]) <= 3
    assert "spectral" not in out


def test_an_unknown_member_is_ignored(server):
    assert_job_answer(send(server, {"x": [1, {"y": None}], "audio": TEXT, "z": {"audio": 1}}), "analyze")


def test_a_charset_and_escapes_are_understood(server):
    body = '{"\\u0061udio":"' + TEXT.replace("/", "\\/") + '"}'
    assert_job_answer(send(server, body, content_type="Application/JSON; charset=utf-8"), "analyze")


@pytest.mark.parametrize(
    "body",
    ["{", "[]", "null", "7", '"x"', "{}x", '{"audio":"' + TEXT + '"', '{"audio":}', "{'audio':'x'}", b'{"audio":"\xff\xfe"}', '{"audio":"' + TEXT + '",}', "[" * 50_000, '{"a":' * 50_000, " ", "\0"],
    ids=lambda b: str(b[:12]),
)
def test_what_is_no_json_object(server, body):
    assert_problem(send(server, body), 400, ("malformed-json", "missing-audio"))


@pytest.mark.parametrize("body", [{}, {"audio": ""}, {"title": "x"}], ids=str)
def test_no_audio_in_it(server, body):
    assert_problem(send(server, body), 400, "missing-audio")


@pytest.mark.parametrize("audio", ["!!!!", "AAA", "A", "AAAA====", "AA AA\u00e4", 7, None, ["AAAA"], {"a": 1}, True], ids=str)
def test_audio_that_is_no_base64(server, audio):
    assert_problem(send(server, {"audio": audio}), 400, ("invalid-parameter", "malformed-json", "missing-audio"))


@pytest.mark.parametrize("member", [{"hop": "x"}, {"hop": -1}, {"hop": [1]}, {"hop": 1.5}, {"peaks": 1e300}, {"window": 3}, {"start_s": "nan"}, {"features": ["levels", 3]}], ids=str)
def test_a_bad_member_is_refused_by_name(server, member):
    assert_problem(send(server, {"audio": TEXT} | member), 400, "invalid-parameter", next(iter(member)))


def test_an_empty_json_body_is_nothing_uploaded(server):
    assert_problem(send(server, b""), 400, ("missing-audio", "malformed-json"))
