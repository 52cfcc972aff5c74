"""Real files of every format that libsndfile reads, made by their own encoders."""

import hashlib

import numpy
import pytest

from contract import assert_job_answer
from sounds import ENCODERS, encode, tone, wav

LEFT_HZ, RIGHT_HZ = 1000.0, 1500.0


@pytest.fixture(scope="module")
def stereo():
    return wav(numpy.stack([tone(LEFT_HZ, 4, 0.5), tone(RIGHT_HZ, 4, 0.25)], axis=1))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_file_gives_its_true_facts_and_tones(server, stereo, name):
    _, _, family, lossless = ENCODERS[name]
    file = encode(name, stereo)
    out = assert_job_answer(server.post("/v1/analyze", data=file), "analyze")
    audio = out["audio"]
    assert audio["format"].startswith(family), audio
    assert audio["codec"]
    assert audio["channels"] == 2
    assert audio["sample_rate_hz"] == (48000 if "opus" in name else 44100)
    assert audio["sha256"] == hashlib.sha256(file).hexdigest()
    # An MP3 or ADPCM file is padded to whole blocks: 1152 or 505 frames and the encoder's delay.
    assert audio["duration_s"] == pytest.approx(4.0, abs=0.0001 if lossless else 0.08)
    assert audio["frames"] == pytest.approx(audio["duration_s"] * audio["sample_rate_hz"], abs=1)
    assert not audio.get("truncated", False)
    strongest = sorted(peak["frequency_hz"] for peak in out["peaks"][:2])
    assert strongest == pytest.approx([LEFT_HZ, RIGHT_HZ], abs=0.5)
    # The mix halves each tone; codecs move a tone's level by a few per cent.
    assert out["peaks"][0]["amplitude"] == pytest.approx(0.25, rel=0.01 if lossless else 0.1)


@pytest.mark.parametrize("name", ["wav", "flac", "ogg-vorbis", "ogg-opus", "mp3-cbr"])
@pytest.mark.parametrize("disguise", [("audio/x-nonsense", "x"), ("image/png", "a.png"), ("text/plain", "a.txt")])
def test_the_bytes_decide_not_the_name_or_the_type(server, stereo, name, disguise):
    file = stereo if name == "wav" else encode(name, stereo)
    plain = server.post("/v1/analyze", data=file).json()
    raw = assert_job_answer(server.post("/v1/analyze", data=file, headers={"Content-Type": disguise[0]}), "analyze")
    part = assert_job_answer(server.post("/v1/analyze", files={"file": (disguise[1], file, disguise[0])}), "analyze")
    assert raw["audio"] == part["audio"] == plain["audio"]


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 48000, 96000, 192000])
def test_wav_of_every_depth_and_rate(server, bits, rate_hz):
    out = assert_job_answer(server.post("/v1/analyze", data=wav(tone(440, 1, 0.5, rate_hz), rate_hz, bits)), "analyze")
    assert out["audio"]["sample_rate_hz"] == rate_hz
    assert out["audio"]["frames"] == rate_hz
    assert out["peaks"][0]["frequency_hz"] == pytest.approx(440, abs=0.1)
    assert out["peaks"][0]["amplitude"] == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("channels", [3, 6, 8])
def test_more_than_two_channels_are_mixed(server, channels):
    one = tone(600, 1, 0.4)
    out = assert_job_answer(server.post("/v1/analyze", data=wav(numpy.stack([one] * channels, axis=1))), "analyze")
    assert out["audio"]["channels"] == channels
    assert out["peaks"][0]["amplitude"] == pytest.approx(0.4, rel=0.01)
