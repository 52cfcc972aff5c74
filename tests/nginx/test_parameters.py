"""Parameters: ranges, repeats, who wins."""

import base64
import json

import pytest

from contract import assert_job_answer, assert_problem
from sounds import tone, wav

FILE = wav(tone(440, 0.5))

BAD = {
    "fft_size": ["255", "128", "4095", "5000", "2097152", "-1", "1.5", "x", "", "0x1000", "99999999999999999999", "4096 "],
    "hop": ["0", "-1", "x", "1e3", "99999999999999999999"],
    "window": ["Hann", "kaiser", "", "hann,hann"],
    "peaks": ["-1", "257", "x", "1.5", ""],
    "spectrum": ["all", "MEAN", ""],
    "features": ["loudness", "chroma", "mfcc", "rhythm", "onsets", "levels,nonsense", "levels,,spectral", "Levels"],
    "start_s": ["-1", "nan", "inf", "x", "", "1e400"],
    "duration_s": ["-1", "nan", "-inf", "x", ""],
    "channel": ["middle", "0", "", "LEFT"],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD.items() for v in values])
def test_a_bad_value_is_refused_by_name(server, name, value):
    assert_problem(server.post("/v1/analyze", params={name: value}, data=FILE), 400, "invalid-parameter", name)


GOOD = [
    {"fft_size": "256"}, {"fft_size": "1048576"}, {"fft_size": "0"}, {"hop": "1024"}, {"peaks": "0"}, {"peaks": "256"},
    {"start_s": "0"}, {"start_s": "0.25"}, {"duration_s": "0.1"}, {"features": "levels"}, {"features": "spectral,levels"},
    {"window": "rect"}, {"channel": "left"},
]  # fmt: skip


@pytest.mark.parametrize("parameters", GOOD, ids=str)
def test_the_edges_of_a_range_are_inside(server, parameters):
    assert_job_answer(server.post("/v1/analyze", params=parameters, data=FILE), "analyze")


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("identify", "limit", "0"), ("identify", "limit", "51"), ("identify", "limit", "x"),
        ("identify", "max_false_positive", "0"), ("identify", "max_false_positive", "-1"), ("identify", "max_false_positive", "nan"),
        ("identify", "multi", "maybe"), ("fingerprint", "algorithm", "md5"),
    ],
)  # fmt: skip
def test_a_bad_value_elsewhere_is_refused_by_name(server, path, name, value):
    answer = server.post(f"/v1/{path}", params={name: value}, data=wav(tone(440, 6)))
    assert_problem(answer, 400, "invalid-parameter", name)


def test_a_repeated_parameter_is_refused_in_every_source(server):
    assert_problem(server.post("/v1/analyze?hop=512&peaks=1&hop=512", data=FILE), 400, "invalid-parameter", "hop")
    parts = [("hop", (None, "512")), ("hop", (None, "512")), ("file", ("a", FILE))]
    assert_problem(server.post("/v1/analyze", files=parts), 400, "invalid-parameter", "hop")
    body = '{"hop":512,"hop":512,"audio":"%s"}' % base64.b64encode(FILE).decode()
    answer = server.post("/v1/analyze", data=body, headers={"Content-Type": "application/json"})
    assert_problem(answer, 400, ("invalid-parameter", "malformed-json"))


def test_an_unknown_parameter_is_ignored(server):
    answer = server.post("/v1/analyze?nonsense=1&x&&=&=5&nonsense=2&peaks=1", data=FILE)
    assert len(assert_job_answer(answer, "analyze")["peaks"]) == 1


def test_the_query_wins_over_parts_and_json(server):
    answer = server.post("/v1/analyze?peaks=0&spectrum=mean&fft_size=512", files={"file": FILE, "fft_size": (None, "1024"), "hop": (None, "64")})
    spectrum = assert_job_answer(answer, "analyze")["spectrum"]
    assert (spectrum["fft_size"], spectrum["hop"]) == (512, 64)
    body = json.dumps({"audio": base64.b64encode(FILE).decode(), "fft_size": 1024, "hop": 128})
    answer = server.post("/v1/analyze?spectrum=mean&fft_size=2048", data=body, headers={"Content-Type": "application/json"})
    spectrum = assert_job_answer(answer, "analyze")["spectrum"]
    assert (spectrum["fft_size"], spectrum["hop"]) == (2048, 128)


def test_percent_and_plus_are_decoded_in_the_query(server):
    answer = server.post("/v1/analyze?f%65atures=levels%2Cspectral&windo%77=%68ann", data=FILE)
    assert set(assert_job_answer(answer, "analyze")) >= {"levels", "spectral"}
    assert_problem(server.post("/v1/analyze?window=han%zz", data=FILE), 400)


def test_a_start_behind_the_end_leaves_nothing(server):
    assert_problem(server.post("/v1/analyze?start_s=10", data=FILE), 422, "too-short")


def test_a_very_long_query_is_refused_in_the_contracts_words(server):
    answer = server.post("/v1/analyze?x=" + "a" * 3000 + "&hop=" + "1" * 3000, data=FILE)
    assert_problem(answer, 400)
