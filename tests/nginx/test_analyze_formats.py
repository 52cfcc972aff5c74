"""Real files of every format, made by their own encoders."""

import hashlib
import os

import numpy
import pytest

from contract import assert_job_answer, assert_problem
from sounds import ENCODERS, encode, noise, run, tone, wav

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


@pytest.mark.parametrize("name", ["wav", "flac", "ogg-vorbis", "ogg-opus", "mp3-cbr", "m4a", "webm-opus"])
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


# Opus and Vorbis in Ogg have an exact end, which libavformat 5.1 misses by a block for Vorbis: the encoder's length is
# the truth. For the others it is what ffmpeg decodes (but for the W64 that it wrote itself to a pipe, which it does not read).
EXACT = ["ogg-vorbis", "ogg-vorbis-ffmpeg", "ogg-opus"]
AS_FFMPEG = [name for name in ENCODERS if name not in EXACT + ["w64-piped"]]


def decoded_by_ffmpeg(file, tmp_path, name):
    path = tmp_path / ("x." + ENCODERS[name][1])
    path.write_bytes(file)
    raw = run("ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0", "-f", "s16le", "-")
    return numpy.frombuffer(raw, "<i2").reshape(-1, 2)


@pytest.mark.parametrize("name", EXACT + AS_FFMPEG)
def test_as_many_frames_as_there_are_and_the_first_in_its_place(server, tmp_path, name):
    silence = numpy.zeros(22050)
    source = wav(numpy.stack([numpy.concatenate([silence, tone(LEFT_HZ, 1.5, 0.5), silence])] * 2, axis=1))
    file = encode(name, source)
    expected = decoded_by_ffmpeg(file, tmp_path, name)
    out = assert_job_answer(server.post("/v1/analyze", data=file), "analyze")
    rate_hz = out["audio"]["sample_rate_hz"]
    frames = 2.5 * rate_hz if name in EXACT else len(expected)
    assert out["audio"]["frames"] == frames
    assert not out["audio"].get("truncated", False)
    # Everything before the tone, less 10 ms for what a codec smears: silent here where it is silent in ffmpeg's.
    onset = numpy.flatnonzero(numpy.abs(expected[:, 0]) > 1600)[0]
    before = assert_job_answer(
        server.post("/v1/analyze", params={"duration_s": onset / rate_hz - 0.01}, data=file), "analyze")
    after = assert_job_answer(
        server.post("/v1/analyze", params={"start_s": onset / rate_hz + 0.01, "duration_s": 0.05}, data=file), "analyze")
    assert before["levels"]["rms_dbfs"] < -45
    assert after["levels"]["rms_dbfs"] == pytest.approx(-9.03, abs=0.7)  # 0.5: 20 log10(0.5 / sqrt 2)


def test_amr_keeps_its_pauses_in_place(server, tmp_path):
    """A pause is a frame without speech, which libavcodec does not decode: it is silence here, and no damage."""
    speech = numpy.concatenate([numpy.zeros(16000), tone(600, 1, 0.5, 8000), numpy.zeros(16000), tone(900, 1, 0.5, 8000)])
    (tmp_path / "in.wav").write_bytes(wav(speech, 8000))
    run("sox", str(tmp_path / "in.wav"), str(tmp_path / "out.amr-nb"))
    file = (tmp_path / "out.amr-nb").read_bytes()
    os.rename(tmp_path / "out.amr-nb", tmp_path / "out.amr")
    for content, family in [(file, "amr"), (in_3gp(tmp_path / "out.amr"), "3gp")]:
        out = assert_job_answer(server.post("/v1/analyze", data=content), "analyze")
        assert (out["audio"]["format"], out["audio"]["codec"]) == (family, "amr-nb")
        assert (out["audio"]["sample_rate_hz"], out["audio"]["channels"]) == (8000, 1)
        assert out["audio"]["duration_s"] == pytest.approx(6.0, abs=0.06)
        assert not out["audio"].get("truncated", False)
        second = assert_job_answer(server.post("/v1/analyze?start_s=5.2&duration_s=0.6", data=content), "analyze")
        assert second["peaks"][0]["frequency_hz"] == pytest.approx(900, abs=5)


def in_3gp(path):
    run("ffmpeg", "-v", "error", "-y", "-i", str(path), "-c", "copy", str(path.with_suffix(".3gp")))
    return path.with_suffix(".3gp").read_bytes()


def test_frames_that_amr_wb_lost_or_left_out_are_as_long_as_the_others(server, tmp_path):
    """Debian has no encoder of it: frames of any bits sound like something, and a frame's first byte tells its type
    (3GPP TS 26.201 table 1a: 8 is speech at 23.85 kbit/s, 9 a description of noise, 14 lost, 15 left out)."""
    random = numpy.random.default_rng(3)
    speech = [b"\x44" + random.bytes(60) for _ in range(50)]
    pause = [b"\x7c"] * 20 + [b"\x70"] * 20 + [b"\x4c" + bytes(5)] * 10
    (tmp_path / "x.amr").write_bytes(b"#!AMR-WB\n" + b"".join(pause + speech + pause + speech))
    for content, family in [((tmp_path / "x.amr").read_bytes(), "amr"), (in_3gp(tmp_path / "x.amr"), "3gp")]:
        out = assert_job_answer(server.post("/v1/analyze", data=content), "analyze")
        assert (out["audio"]["format"], out["audio"]["codec"]) == (family, "amr-wb")
        assert (out["audio"]["sample_rate_hz"], out["audio"]["frames"]) == (16000, 4 * 16000)
        assert not out["audio"].get("truncated", False)
        for start_s, speaks in [(0.1, False), (1.1, True), (2.3, False), (3.1, True)]:
            part = assert_job_answer(server.post("/v1/analyze", params={"start_s": start_s, "duration_s": 0.6}, data=content), "analyze")
            assert (part["levels"]["rms_dbfs"] > -40) is speaks, start_s


def test_gsm_in_wav(server, tmp_path):
    (tmp_path / "in.wav").write_bytes(wav(tone(700, 2, 0.5, 8000), 8000))
    run("sox", str(tmp_path / "in.wav"), "-e", "gsm", str(tmp_path / "out.wav"))
    out = assert_job_answer(server.post("/v1/analyze", data=(tmp_path / "out.wav").read_bytes()), "analyze")
    assert (out["audio"]["format"], out["audio"]["codec"]) == ("wav", "gsm-610")
    assert out["audio"]["duration_s"] == pytest.approx(2.0, abs=0.04)  # whole blocks of 320 samples
    assert out["peaks"][0]["frequency_hz"] == pytest.approx(700, abs=2)


def test_the_edit_list_of_an_m4a_that_was_cut_without_coding_it_again(server, stereo, tmp_path):
    (tmp_path / "whole.m4a").write_bytes(encode("m4a", stereo))
    run("ffmpeg", "-v", "error", "-ss", "0.31", "-i", str(tmp_path / "whole.m4a"), "-c", "copy", str(tmp_path / "cut.m4a"))
    file = (tmp_path / "cut.m4a").read_bytes()
    expected = decoded_by_ffmpeg(file, tmp_path, "m4a")
    whole_again = wav(expected / 32768)
    args = {"start_s": 1, "duration_s": 1, "fft_size": 0}
    out = assert_job_answer(server.post("/v1/analyze", params=args, data=file), "analyze")
    same = assert_job_answer(server.post("/v1/analyze", params=args, data=whole_again), "analyze")
    counted = assert_job_answer(server.post("/v1/analyze", data=file), "analyze")
    assert counted["audio"]["frames"] == len(expected)
    for peak, other in zip(out["peaks"][:2], same["peaks"][:2]):
        # 0.05 rad of 1500 Hz is a quarter of a sample.
        assert peak["frequency_hz"] == pytest.approx(other["frequency_hz"], abs=0.01)
        assert peak["phase_rad"] == pytest.approx(other["phase_rad"], abs=0.05)


def mp3_of_two_bitrates(first, second):
    """Six seconds of silence and six of noise, each at the bitrate that it needs, and no count of frames."""
    return encode("mp3-untagged-vbr", wav(numpy.repeat([first, second], 6 * 44100) * noise(12, 1.0)))


def test_an_mp3_that_does_not_say_how_long_it_is_is_read_to_its_end(server, serve):
    """The bitrate of its first frames tells nothing of the others."""
    bounded = serve(location="sonogate_max_audio 13s;")
    for order in [(0.5, 0.0), (0.0, 0.5)]:
        file = mp3_of_two_bitrates(*order)
        out = assert_job_answer(server.post("/v1/analyze", data=file), "analyze")
        assert out["audio"]["duration_s"] == pytest.approx(12.0, abs=0.08)
        assert not out["audio"].get("truncated", False)
        assert out["levels"]["peak_dbfs"] > -8
        assert_job_answer(bounded.post("/v1/analyze", data=file), "analyze")
        assert_problem(bounded.post("/v1/analyze", data=file + file), 413, "audio-too-long")


def id3v2(word=b"text"):
    return b"ID3\x03\0\0" + bytes([0, 0, 2000 >> 7, 2000 & 127]) + word * 500


def ape_tag(size):
    ends = [b"APETAGEX" + (2000).to_bytes(4, "little") + (size + 32).to_bytes(4, "little") + (1).to_bytes(4, "little") + flags + bytes(8)
            for flags in (b"\0\0\0\xa0", b"\0\0\0\x80")]  # fmt: skip
    return ends[0] + b"cover" * (size // 5) + ends[1]


def test_tags_and_padding_around_the_frames_of_an_mp3_are_no_audio_and_no_damage(server, stereo):
    tagged, plain = encode("mp3-cbr", stereo), encode("mp3-untagged", stereo)
    id3v1, lyrics = b"TAG" + bytes(125), b"LYRICSBEGIN" + b"la " * 100 + b"000311LYRICS200"
    frames = {}
    for name, file in [("tagged", tagged), ("plain", plain)]:
        for end in [b"", id3v1, lyrics + id3v1, ape_tag(10_000) + id3v1, id3v1 + ape_tag(200)]:
            audio = assert_job_answer(server.post("/v1/analyze", data=id3v2(b"\xff\xfb\x90\x64") + file + end), "analyze")["audio"]
            assert audio["frames"] == frames.setdefault(name, audio["frames"]), end[:8]
            assert not audio.get("truncated", False), end[:8]
    assert frames["tagged"] == 4 * 44100
    two = assert_job_answer(server.post("/v1/analyze", data=plain + id3v1 + id3v2() + plain + bytes(5000)), "analyze")
    assert two["audio"]["frames"] == 2 * frames["plain"]
    assert not two["audio"].get("truncated", False)
    hole = assert_job_answer(server.post("/v1/analyze", data=plain[:30_000] + plain[34_000:]), "analyze")
    assert hole["audio"]["truncated"] is True


def test_the_audio_of_a_video_is_taken_and_a_silent_film_is_undecodable(server, stereo, tmp_path):
    (tmp_path / "in.wav").write_bytes(stereo)
    picture = ["-f", "lavfi", "-i", "testsrc=d=4:s=64x64:r=5"]
    for suffix, family in [("mp4", "mp4"), ("mkv", "matroska"), ("webm", "webm")]:
        film, mute = str(tmp_path / f"film.{suffix}"), str(tmp_path / f"mute.{suffix}")
        run("ffmpeg", "-v", "error", *picture, "-i", str(tmp_path / "in.wav"), film)
        run("ffmpeg", "-v", "error", *picture, mute)
        with open(film, "rb") as file:
            out = assert_job_answer(server.post("/v1/analyze", data=file.read()), "analyze")
        assert out["audio"]["format"] == family
        assert out["audio"]["duration_s"] == pytest.approx(4.0, abs=0.08)
        with open(mute, "rb") as file:
            assert_problem(server.post("/v1/analyze", data=file.read()), 422, "undecodable")


@pytest.mark.parametrize("name", ["aac-adts", "m4a-moov-first", "webm-opus", "matroska-vorbis", "wma", "ogg-opus", "ogg-flac", "mp3-cbr", "mp3-untagged", "wav-mp3"])
def test_a_cut_file_gives_what_is_there_and_says_so(server, stereo, name):
    file = encode(name, stereo)
    out = assert_job_answer(server.post("/v1/analyze", data=file[: len(file) * 6 // 10]), "analyze")
    assert 1.5 < out["audio"]["duration_s"] < 3.5
    # ADTS and a live Matroska stream say nowhere how much there should be; a last frame that is cut can be seen.
    if name not in ("aac-adts",):
        assert out["audio"]["truncated"] is True


@pytest.mark.parametrize("name", ["ogg-vorbis", "ogg-opus", "ogg-flac"])
def test_chained_ogg_streams_are_one_recording(server, stereo, name):
    """What a radio server writes when the next song begins (RFC 3533): one stream behind another."""
    file = encode(name, stereo)
    out = assert_job_answer(server.post("/v1/analyze", data=file + file), "analyze")
    assert out["audio"]["duration_s"] == pytest.approx(8.0, abs=0.02)  # a codec's delay or block
    assert not out["audio"].get("truncated", False)
    second = assert_job_answer(server.post("/v1/analyze?start_s=5&duration_s=2", data=file + file), "analyze")
    assert sorted(peak["frequency_hz"] for peak in second["peaks"][:2]) == pytest.approx([LEFT_HZ, RIGHT_HZ], abs=0.5)


def test_an_mp4_whose_index_is_cut_off_is_undecodable(server, stereo):
    file = encode("m4a", stereo)  # its moov box stands at the end
    assert_problem(server.post("/v1/analyze", data=file[: len(file) // 2]), 422, "undecodable")


def test_a_codec_that_is_not_listed_is_undecodable_and_playlists_are_no_audio(server, stereo, tmp_path):
    (tmp_path / "in.wav").write_bytes(stereo)
    ac3 = run("ffmpeg", "-v", "error", "-i", str(tmp_path / "in.wav"), "-c:a", "ac3", "-f", "matroska", "-")
    assert_problem(server.post("/v1/analyze", data=ac3), 422, "undecodable")
    for text in [b"#EXTM3U\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"<?xml version='1.0'?><MPD/>"]:
        assert_problem(server.post("/v1/analyze", data=text), 415, "unsupported-format")
