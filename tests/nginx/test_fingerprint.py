"""The fingerprint alone, and identify by it."""

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
