"""The fingerprint alone, and identify by it."""

import ctypes
import json
import subprocess

import numpy
import pytest

from contract import assert_job_answer, assert_problem, strict_json
from sounds import encode, music, wav


def fingerprint(server, file, **parameters):
    return assert_job_answer(server.post("/v1/fingerprint", params=parameters, data=file), "fingerprint")


def test_the_same_audio_has_the_same_fingerprint(server):
    file = wav(music(800, 10))
    first, second = fingerprint(server, file), fingerprint(server, encode("flac", file))
    assert first["fingerprint"] == second["fingerprint"]
    assert first["fingerprint"] != fingerprint(server, wav(music(801, 10)))["fingerprint"]


def test_landmark_is_the_default_and_others_are_refused(server):
    file = wav(music(800, 10))
    assert fingerprint(server, file, algorithm="landmark")["fingerprint"] == fingerprint(server, file)["fingerprint"]
    assert_problem(server.post("/v1/fingerprint?algorithm=md5", data=file), 400, "invalid-parameter", "algorithm")


def fpcalc(path, *arguments):
    """Debian's fpcalc takes the end of a file for an error of its decoder, and tells it behind the answer."""
    out = subprocess.run(["fpcalc", "-json", *arguments, str(path)], check=False, capture_output=True)
    return json.loads(out.stdout)["fingerprint"]


def test_chromaprint_is_fpcalcs_to_the_bit_where_nothing_is_resampled(server, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(music(803, 30, rate_hz=11025), 11025))
    out = fingerprint(server, path.read_bytes(), algorithm="chromaprint")
    assert (out["algorithm"], out["version"]) == ("chromaprint", 1)
    assert out["duration_s"] == 30.0
    assert out["fingerprint"] == fpcalc(path)
    part = fingerprint(server, path.read_bytes(), algorithm="chromaprint", duration_s=12)["fingerprint"]
    assert part == fpcalc(path, "-length", "12")


def test_chromaprint_of_other_files_is_as_near_to_fpcalcs_as_two_resamplers_are(server, tmp_path):
    path = tmp_path / "x.flac"
    song = music(804, 30)
    path.write_bytes(encode("flac", wav(numpy.stack([song, 0.5 * song], axis=1))))
    ours = fingerprint(server, path.read_bytes(), algorithm="chromaprint")["fingerprint"]
    items = [raw_chromaprint(text) for text in (ours, fpcalc(path))]
    assert len(items[0]) == pytest.approx(len(items[1]), abs=1)
    differing = sum((a ^ b).bit_count() for a, b in zip(*items)) / (32 * min(map(len, items)))
    assert differing < 0.02  # AcoustID takes 0.2 for the same recording


def raw_chromaprint(text):
    """The 32-bit items behind a compressed fingerprint, by the library itself."""
    library = ctypes.CDLL("libchromaprint.so.1")
    items, size, algorithm = ctypes.POINTER(ctypes.c_uint32)(), ctypes.c_int(), ctypes.c_int()
    arguments = (text.encode(), len(text), ctypes.byref(items), ctypes.byref(size), ctypes.byref(algorithm), 1)
    assert library.chromaprint_decode_fingerprint(*arguments) == 1
    return items[: size.value]


def test_too_little_for_chromaprint_is_too_short(server):
    assert_problem(server.post("/v1/fingerprint?algorithm=chromaprint", data=wav(music(805, 1))), 422, "too-short")


def test_identify_takes_a_fingerprint(serve):
    server = serve()
    song = music(802, 25)
    assert server.post("/v1/tracks", params={"track_id": "f"}, data=wav(song)).status_code == 201
    made = fingerprint(server, wav(song[44100 * 5 : 44100 * 15]))["fingerprint"]
    out = strict_json(server.post("/v1/identify", json={"fingerprint": made}))
    assert out["match"] is True
    assert out["matches"][0]["track_id"] == "f"


def test_a_broken_fingerprint_is_refused(server):
    made = fingerprint(server, wav(music(800, 10)))["fingerprint"]
    for broken in ("", "AAAA", "!!!", made[: len(made) // 2], "A" * len(made), made + "AAAA", 7, None, [made]):
        answer = server.post("/v1/identify", json={"fingerprint": broken})
        assert answer.status_code == 400, (str(broken)[:40], answer.text)
        assert_problem(answer, 400)
