"""A long recording in, a timeline of plays out."""

import numpy
import pytest

import radio
from contract import assert_job_answer, assert_problem
from radio import RATE_HZ, Programme
from served import Served, reachable_folder
from sounds import REAL_MUSIC, encode, music, speech, tone, wav

SECONDS = 600
TRACK_S = 100.0
NAMES = ("frantic", "loyalists", "northerners", "elvish-theme", "into_the_shadows", "underground", "the_deep_path")


@pytest.fixture(scope="module")
def tracks():
    """name -> sound: real music where there is some."""
    real = {path.rpartition("/")[2].removesuffix(".ogg"): path for path in REAL_MUSIC}
    if set(NAMES) <= set(real):
        return {name: radio.decoded(real[name], f"atrim=0:{TRACK_S}") for name in NAMES}
    return {name: music(700 + i, TRACK_S, RATE_HZ) for i, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, tracks):
    server = Served(reachable_folder(tmp_path_factory, "monitor"), location="sonogate_max_body 64m;", pool="result_cache 16m;").start()
    try:
        for name, sound in tracks.items():
            answer = server.post("/v1/tracks", params={"track_id": name, "title": name.title(), "artist": "Radio", "isrc": "DE-A00-26-00001"}, data=wav(sound, RATE_HZ))
            assert answer.status_code == 201, answer.text
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def programme(tracks):
    """Ten minutes: news, fades into one another, words over music, a deck that runs 2 % fast, silence, a pause, a repeat."""
    talk = radio.decoded(speech("Good evening. Here is the news of the hour, and after it more music for the night. " * 2))
    out = Programme(SECONDS)

    def play(name, *arguments, **more):
        return out.play(name, tracks[name], *arguments, **more)

    out.say(talk, 0, 9)
    end_s = play("frantic", 9, 62, fade_out_s=4)
    end_s = play("loyalists", end_s - 4, 75, track_start_s=10, speed=1.02, fade_in_s=4)
    out.say(talk, end_s - 40, 8, over_music=True)
    end_s = play("northerners", end_s + 6, 70, track_start_s=5, fade_out_s=3)  # after silence
    end_s = play("elvish-theme", end_s - 3, 60, fade_in_s=3)
    out.say(talk, end_s, 12)
    end_s = play("underground", end_s + 12, 30, track_start_s=20)
    end_s = play("underground", end_s + 5, 30, track_start_s=50)  # it paused, and went on where it was
    end_s = play("frantic", end_s, 50, track_start_s=30)  # the repeat
    end_s = play("into_the_shadows", end_s - 2, 80, speed=0.98, fade_in_s=2, fade_out_s=5)
    end_s = play("the_deep_path", end_s - 5, 60, fade_in_s=5)
    out.say(talk, end_s - 30, 6, over_music=True)
    out.say(talk, end_s, SECONDS - end_s)
    return out


def monitor(server, file, cache="miss", **parameters):
    return assert_job_answer(server.post("/v1/monitor", params=parameters, data=file), "monitor", cache=cache)


def assert_timeline(plays, truth):
    told = [(p["track_id"], p["start_s"], p["end_s"]) for p in plays]
    assert [p["track_id"] for p in plays] == [t.track_id for t in truth], told
    for play, true in zip(plays, truth):
        assert true.begin_s[0] - 1 <= play["start_s"] <= true.begin_s[1] + 1, (play, true)
        assert true.end_s[0] - 1 <= play["end_s"] <= true.end_s[1] + 1, (play, true)
        at_s = true.track_start_s + (play["start_s"] - true.begin_s[0]) * true.speed
        assert play["track_start_s"] == pytest.approx(at_s, abs=0.1)
        assert play["tempo_ratio"] == pytest.approx(true.speed, abs=0.002)
        assert play["played_s"] == pytest.approx(play["end_s"] - play["start_s"], abs=0.002)
        assert 0.99 < play["confidence"] <= 1


def test_ten_minutes_of_radio_are_told_play_by_play(catalog, programme):
    out = monitor(catalog, encode("mp3-cbr", wav(programme.sound, RATE_HZ)))
    assert_timeline(out["plays"], programme.truth)
    assert len({p["play_id"] for p in out["plays"]}) == len(out["plays"])
    first = out["plays"][0]
    assert (first["title"], first["artist"], first["isrc"]) == ("Frantic", "Radio", "DE-A00-26-00001")
    assert first["stream_id"] is None and first["started_at"] is None and first["ended_at"] is None
    assert out["audio"]["duration_s"] == pytest.approx(SECONDS, abs=0.2)
    assert out["catalog"]["tracks"] == len(NAMES)
    assert out["timing_ms"]["search"] > 0


def test_the_same_recording_again_is_a_hit_until_the_catalog_changes(catalog):
    file = wav(tone(seconds=2.0))
    assert monitor(catalog, file)["plays"] == []
    assert monitor(catalog, file, cache="hit")["plays"] == []
    patched = catalog.request("PATCH", "/v1/tracks/frantic", json={"album": "Another"})
    assert patched.status_code == 200
    assert monitor(catalog, file)["plays"] == []


@pytest.mark.parametrize("name", ["silence", "noise", "a moment", "one note"])
def test_where_nothing_was_played_nothing_is_told(catalog, name):
    sound = {
        "silence": numpy.zeros(30 * RATE_HZ),
        "noise": numpy.random.default_rng(5).uniform(-0.3, 0.3, 30 * RATE_HZ),
        "a moment": tone(seconds=0.2, rate_hz=RATE_HZ),
        "one note": tone(seconds=45, rate_hz=RATE_HZ),
    }[name]
    assert monitor(catalog, wav(sound, RATE_HZ))["plays"] == []


def test_a_part_of_the_recording_can_be_chosen(catalog, programme):
    out = monitor(catalog, wav(programme.sound, RATE_HZ), start_s=20, duration_s=30)
    (play,) = out["plays"]
    assert play["track_id"] == "frantic"
    assert play["start_s"] == pytest.approx(0, abs=1) and play["end_s"] == pytest.approx(30, abs=1)
    assert play["track_start_s"] == pytest.approx(11 + play["start_s"], abs=0.1)


def test_a_removed_track_is_played_no_more(serve, tracks):
    server = serve(location="sonogate_max_body 64m;")
    sound = wav(tracks["underground"][: 40 * RATE_HZ], RATE_HZ)
    assert monitor(server, sound)["plays"] == []  # an empty catalog
    assert server.post("/v1/tracks", params={"track_id": "gone"}, data=sound).status_code == 201
    assert [p["track_id"] for p in monitor(server, sound)["plays"]] == ["gone"]
    assert server.request("DELETE", "/v1/tracks/gone").status_code == 204
    assert monitor(server, sound)["plays"] == []


def test_bad_questions_are_refused(catalog):
    assert_problem(catalog.post("/v1/monitor"), 400, "missing-audio")
    assert_problem(catalog.post("/v1/monitor", data=b"no audio at all" * 9), 415, "unsupported-format")
    assert_problem(catalog.post("/v1/monitor", params={"max_false_positive": "2"}, data=wav(tone())), 400, "invalid-parameter", "max_false_positive")
    assert_problem(catalog.post("/v1/monitor", json={"fingerprint": "AAAA"}), 400, "missing-audio")
