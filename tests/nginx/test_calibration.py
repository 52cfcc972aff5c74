"""Whether a probability is one: over clips whose track is not there, the share answered at or below p is at most p.

240 clips hold 1e-1 and 1e-2 to it in every run; 1e-3 takes a quarter of an hour:

    /usr/bin/python3 -m pytest tests/nginx/test_calibration.py -s --strangers 6000
"""

import collections
import itertools
import os

import numpy
import pytest
from scipy import signal, stats

from contract import assert_job_answer
from load import all_at_once
from served import Served, reachable_folder
from sounds import RATE_HZ, REAL_MUSIC, music, noise, real_clip, run, tone, wav

LEVELS = (1e-1, 1e-2, 1e-3, 1e-4)
CHANCE = 1e-6  # that a true probability fails here, at each level
KNOWN = range(700, 712)
STRANGE_PIECES = [path for path in REAL_MUSIC[8:] if os.path.getsize(path) > 1_000_000]  # longer than a clip and its start
WORDS = "time way day man thing woman life child world school state family student group country problem hand part place case".split()


def tones(random, seconds):
    return sum(tone(hz, seconds, 0.2, phase_rad=random.uniform(0, 6)) for hz in random.uniform(80, 3500, random.integers(1, 3)))


def chord(random, seconds):
    root_hz = 55 * 2 ** random.uniform(0, 3)
    steps = random.choice(24, random.integers(3, 7), replace=False)
    return sum(tone(root_hz * 2 ** (step / 12) * harmonic, seconds, 0.1 / harmonic) for step in steps for harmonic in (1, 2, 3))


def sweep(random, seconds):
    t = numpy.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return 0.5 * signal.chirp(t, random.uniform(50, 400), seconds, random.uniform(1000, 4000), method=str(random.choice(["linear", "logarithmic"])))


def drum_loop(random, seconds):
    """Four sounds on sixteen steps, again and again."""
    length = round(RATE_HZ * random.uniform(0.1, 0.16))
    t = numpy.arange(4 * length) / RATE_HZ
    sounds = [numpy.exp(-t * random.uniform(8, 60)) * (random.normal(0, 0.3, len(t)) + numpy.sin(2 * numpy.pi * random.uniform(50, 900) * t)) for _ in range(4)]
    loop = numpy.zeros(16 * length + len(t))
    for step, which in itertools.product(range(16), range(4)):
        if random.random() < 0.3:
            loop[step * length :][: len(t)] += sounds[which]
    return 0.25 * numpy.resize(loop[: 16 * length], round(seconds * RATE_HZ))


def coloured_noise(random, seconds):
    white = noise(seconds, 0.3, random.integers(1 << 31))
    return white if random.random() < 0.5 else 0.2 * signal.lfilter([1], [1, -0.97], white)


def clicks(random, seconds):
    out = noise(seconds, 0.001, random.integers(1 << 31))
    out[:: round(RATE_HZ / random.uniform(1, 40))] = 0.9
    return out


def hum(random, seconds):
    mains_hz = random.choice([50, 60]) * random.uniform(0.999, 1.001)
    return sum(tone(mains_hz * n, seconds, 0.3 / n, phase_rad=random.uniform(0, 6)) for n in range(1, 20)) / 2 + noise(seconds, 0.002, random.integers(1 << 31))


def silence(_, seconds):
    return numpy.zeros(round(seconds * RATE_HZ))


def unknown_music(random, seconds):
    return music(int(random.integers(10_000, 1 << 31)), float(seconds))


def speech(random, _):
    words = " ".join(random.choice(WORDS, 30))
    return run("espeak-ng", "--stdout", "-p", str(random.integers(20, 80)), "-s", str(random.integers(120, 200)), words)


def unknown_piece(random, seconds):
    path = STRANGE_PIECES[random.integers(len(STRANGE_PIECES))]
    return real_clip(path, round(random.uniform(0, 15), 3), seconds)


KINDS = [unknown_music, speech, unknown_music, drum_loop, unknown_music, coloured_noise, unknown_music, tones, chord, sweep, clicks, hum, silence]
if STRANGE_PIECES:
    KINDS += [unknown_piece, unknown_piece]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    server = Served(reachable_folder(tmp_path_factory, "calibration")).start()
    try:
        for seed in KNOWN:
            assert server.post("/v1/tracks", data=wav(music(seed, 60))).status_code == 201
        for path in REAL_MUSIC[:6]:
            with open(path, "rb") as file:
                assert server.post("/v1/tracks", data=file).status_code in (201, 422)
        yield server
    finally:
        server.stop()


def test_no_probability_is_smaller_than_its_share(catalog, pytestconfig):
    count = pytestconfig.getoption("--strangers")
    told = [1.0] * count

    def ask(i):
        random = numpy.random.default_rng([20, i])
        clip = KINDS[i % len(KINDS)](random, [3, 5, 10][i // len(KINDS) % 3])
        body = clip if isinstance(clip, bytes) else wav(clip)
        out = assert_job_answer(catalog.post("/v1/identify", params={"max_false_positive": LEVELS[0]}, data=body), "identify")
        if out["match"]:
            told[i] = out["matches"][0]["false_positive_probability"]

    for first in range(0, count, 32):
        all_at_once(lambda i: ask(first + i), min(32, count - first))  # noqa: B023
    for level in LEVELS:
        found = collections.Counter(KINDS[i % len(KINDS)].__name__ for i in range(count) if told[i] <= level)
        allowed = stats.binom.ppf(1 - CHANCE, count, level)
        print(f"p <= {level:g}: {sum(found.values())} of {count} ({sum(found.values()) / count:.2g}), at most {allowed:g}; {dict(found)}")
        assert sum(found.values()) <= allowed, found
