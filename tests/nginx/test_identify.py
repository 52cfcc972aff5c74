"""Clips of known and unknown sound against a catalog; real music where Debian's package is installed."""

import numpy
import pytest

from contract import assert_job_answer
from served import Served, reachable_folder, wait_until
from sounds import RATE_HZ, REAL_MUSIC, encode, music, noise, real_clip, run, speech, tone, wav

ENROLLED = range(500, 506)
UNKNOWN = range(600, 606)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    server = Served(reachable_folder(tmp_path_factory, "identify"), location="sonogate_max_body 64m;").start()
    try:
        for seed in ENROLLED:
            answer = server.post("/v1/tracks", params={"track_id": f"m{seed}", "title": f"Made {seed}", "metadata": '{"seed":%d}' % seed}, data=wav(music(seed, 40)))
            assert answer.status_code == 201, answer.text
        for path in REAL_MUSIC[:6]:
            with open(path, "rb") as file:
                answer = server.post("/v1/tracks", params={"track_id": path.rpartition("/")[2], "title": "real"}, data=file)
            assert answer.status_code in (201, 422), answer.text
        yield server
    finally:
        server.stop()


def identify(server, file, **parameters):
    return assert_job_answer(server.post("/v1/identify", params=parameters, data=file), "identify")


def part(samples, start_s, seconds):
    return samples[round(start_s * RATE_HZ) : round((start_s + seconds) * RATE_HZ)]


def assert_is(out, track_id, start_s):
    assert out["match"] is True, out
    assert out["reason"] is None
    best = out["matches"][0]
    assert best["track_id"] == track_id
    assert best["track_start_s"] - best["query_start_s"] == pytest.approx(start_s, abs=0.1)
    assert best["track_end_s"] > best["track_start_s"] and best["query_end_s"] > best["query_start_s"]
    assert best["false_positive_probability"] <= 1e-6
    assert 0.9 < best["confidence"] <= 1
    assert best["tempo_ratio"] == pytest.approx(1, abs=0.01)
    return best


@pytest.mark.parametrize("seed", ENROLLED)
def test_a_clip_of_a_track_is_found_where_it_is(catalog, seed):
    best = assert_is(identify(catalog, wav(part(music(seed, 40), 12.5, 8))), f"m{seed}", 12.5)
    assert best["title"] == f"Made {seed}"
    assert best["metadata"] == {"seed": seed}
    assert best["track_duration_s"] == pytest.approx(40, abs=0.1)


@pytest.mark.parametrize("name", ["mp3-cbr", "ogg-vorbis", "ogg-opus", "flac"])
def test_a_noisy_clip_encoded_again_is_found(catalog, name):
    clip = part(music(502, 40), 20.25, 8)
    noisy = clip + noise(8, 0.1, seed=3)  # some 10 dB below the music
    assert_is(identify(catalog, encode(name, wav(noisy))), "m502", 20.25)


@pytest.mark.parametrize("change", ["quiet", "loud", "inverted", "8 kHz", "stereo"])
def test_level_polarity_rate_and_channels_do_not_matter(catalog, change):
    clip = part(music(503, 40), 5, 8)
    file = {
        "quiet": lambda: wav(clip * 0.02),
        "loud": lambda: wav(numpy.clip(clip * 2, -1, 1)),
        "inverted": lambda: wav(-clip),
        "8 kHz": lambda: run("sox", "-t", "wav", "-", "-r", "8000", "-t", "wav", "-", data=wav(clip)),
        "stereo": lambda: wav(numpy.stack([clip, 0.5 * clip], axis=1)),
    }[change]()
    assert_is(identify(catalog, file), "m503", 5)


@pytest.mark.parametrize(("effect", "tempo", "pitch"), [("speed", 1.03, 1.03), ("speed", 0.97, 0.97), ("tempo", 1.04, 1), ("pitch", 1, 2 ** (1 / 12))])
def test_speed_tempo_and_pitch_are_found_and_told(catalog, effect, tempo, pitch):
    amount = {"speed": tempo, "tempo": tempo, "pitch": 100}[effect]  # sox counts pitch in cents
    clip = part(music(504, 40), 15, 9)
    file = run("sox", "-t", "wav", "-", "-t", "wav", "-", effect, str(amount), data=wav(clip))
    best = identify(catalog, file)["matches"][0]
    assert best["track_id"] == "m504"
    assert best["tempo_ratio"] == pytest.approx(tempo, abs=0.003)
    assert best["pitch_ratio"] == pytest.approx(pitch, abs=0.003)
    assert best["track_start_s"] - best["query_start_s"] * tempo == pytest.approx(15, abs=0.1)
    assert best["track_end_s"] - best["track_start_s"] == pytest.approx((best["query_end_s"] - best["query_start_s"]) * tempo, abs=0.01)
    assert best["coverage"] > 0.8


UNKNOWN_SOUNDS = {
    "silence": lambda: wav(numpy.zeros(8 * RATE_HZ)),
    "white noise": lambda: wav(noise(8, 0.5)),
    "tone": lambda: wav(tone(440, 8)),
    "tones": lambda: wav(sum(tone(f, 8, 0.1) for f in (220, 440, 660, 1320))),
    "clicks": lambda: wav(numpy.where(numpy.arange(8 * RATE_HZ) % 22050 == 0, 0.9, 0.0)),
    "speech": speech,
    **{f"music {seed}": (lambda s=seed: wav(part(music(s, 40), 10, 8))) for seed in UNKNOWN},
}


@pytest.mark.parametrize("name", UNKNOWN_SOUNDS)
def test_what_is_not_in_the_catalog_is_refused(catalog, name):
    out = identify(catalog, UNKNOWN_SOUNDS[name]())
    assert out["match"] is False, out
    assert out["matches"] == []
    reasons = ("silence",) if name == "silence" else ("no_candidates", "below_threshold")
    assert out["reason"] in reasons


def test_a_snippet_is_too_short(catalog):
    out = identify(catalog, wav(part(music(500, 40), 5, 0.05)))
    assert (out["match"], out["reason"]) == (False, "too_short")


@pytest.mark.skipif(len(REAL_MUSIC) < 12, reason="wesnoth-1.16-music is not installed")
@pytest.mark.parametrize("number", range(4))
def test_real_music_noisy_and_encoded_again_is_found(catalog, number):
    path = REAL_MUSIC[number]
    file = real_clip(path, 30, 10, "aeval=val(0)+0.03*(random(0)-0.5)|val(1)+0.03*(random(1)-0.5):c=same")
    best = assert_is(identify(catalog, file), path.rpartition("/")[2], 30)
    assert best["coverage"] > 0.5


@pytest.mark.skipif(len(REAL_MUSIC) < 12, reason="wesnoth-1.16-music is not installed")
@pytest.mark.parametrize("number", range(8, 12))
def test_real_music_that_is_unknown_is_refused(catalog, number):
    out = identify(catalog, real_clip(REAL_MUSIC[number], 20, 10))
    assert out["match"] is False, (REAL_MUSIC[number], out["matches"])


def test_the_catalog_is_told(catalog):
    told = identify(catalog, wav(part(music(500, 40), 5, 5)))["catalog"]
    assert told["tracks"] >= len(ENROLLED)
    assert told["hashes"] > 1000
    assert told["version"] >= len(ENROLLED)


def test_start_and_duration_choose_the_clip(catalog):
    joined = numpy.concatenate([part(music(600, 40), 0, 8), part(music(501, 40), 15, 8)])
    out = identify(catalog, wav(joined), start_s=8, duration_s=8)
    assert out["match"] is True and out["matches"][0]["track_id"] == "m501"


def test_several_plays_are_found_with_multi(catalog):
    joined = numpy.concatenate([part(music(500, 40), 5, 10), part(music(504, 40), 20, 10)])
    out = identify(catalog, wav(joined), multi="true", limit=10)
    assert {m["track_id"] for m in out["matches"]} == {"m500", "m504"}


def test_limit_bounds_the_matches(catalog):
    joined = numpy.concatenate([part(music(500, 40), 5, 10), part(music(504, 40), 20, 10)])
    assert len(identify(catalog, wav(joined), limit=1)["matches"]) == 1


def test_a_track_is_found_at_once_and_never_after_its_deletion(catalog):
    song = music(700, 20)
    clip = wav(part(song, 4, 8))
    for _ in range(3):
        assert identify(catalog, clip)["match"] is False
        assert catalog.post("/v1/tracks", params={"track_id": "brief"}, data=wav(song)).status_code == 201
        assert_is(identify(catalog, clip), "brief", 4)
        assert catalog.request("DELETE", "/v1/tracks/brief").status_code == 204
    assert identify(catalog, clip)["match"] is False


def test_an_empty_catalog_says_so(serve):
    out = identify(serve(), wav(part(music(500, 40), 5, 8)))
    assert (out["match"], out["reason"], out["catalog"]["tracks"]) == (False, "catalog_empty", 0)


def test_identify_works_again_once_the_librarian_was_killed(serve):
    server = serve()
    assert server.post("/v1/tracks", params={"track_id": "x"}, data=wav(music(500, 20))).status_code == 201
    (librarian,) = server.pids("sonogated: librarian")
    server.kill(librarian)
    clip = wav(part(music(500, 20), 5, 8))
    wait_until(lambda: server.post("/v1/identify", data=clip).status_code == 200, 20, 0.1)
    assert identify(server, clip)["matches"][0]["track_id"] == "x"
