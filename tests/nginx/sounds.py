"""Sounds: tones, noise, music-like signals as numpy arrays; WAV written here; other formats by their own encoders.

Samples are float64 in −1 to 1, shape (frames,) or (frames, channels).
"""

import functools
import glob
import os
import struct
import subprocess
import tempfile

import numpy

RATE_HZ = 44100
REAL_MUSIC = sorted(glob.glob("/usr/share/games/wesnoth/*/data/core/music/*.ogg"))


def tone(frequency_hz=440.0, seconds=1.0, amplitude=0.5, rate_hz=RATE_HZ, phase_rad=0.0):
    t = numpy.arange(round(seconds * rate_hz)) / rate_hz
    return amplitude * numpy.cos(2 * numpy.pi * frequency_hz * t + phase_rad)


def noise(seconds=1.0, amplitude=0.1, seed=1, rate_hz=RATE_HZ):
    return amplitude * numpy.random.default_rng(seed).uniform(-1, 1, round(seconds * rate_hz))


@functools.lru_cache(maxsize=32)
def music(seed, seconds=30.0, rate_hz=RATE_HZ):
    """Something that changes as music does: decaying notes of random pitch, chords, and drum beats."""
    random = numpy.random.default_rng(seed)
    out = numpy.zeros(round(seconds * rate_hz) + rate_hz)
    scale = 110 * 2 ** (numpy.sort(random.choice(36, 18, replace=False)) / 12)
    beat_s = random.uniform(0.18, 0.32)
    for start_s in numpy.arange(0, seconds, beat_s):
        first = round(start_s * rate_hz)
        t = numpy.arange(round(min(4 * beat_s, 0.9) * rate_hz)) / rate_hz
        for pitch_hz in random.choice(scale, random.integers(1, 4)):
            decay = numpy.exp(-t * random.uniform(3, 9))
            for harmonic in range(1, 7):
                strength = random.uniform(0.2, 1.0) / harmonic
                out[first : first + len(t)] += strength * decay * numpy.sin(2 * numpy.pi * harmonic * pitch_hz * t)
        if random.random() < 0.6:
            drum = random.normal(0, 1, len(t)) * numpy.exp(-t * 40)
            out[first : first + len(t)] += 0.7 * drum
    out = out[: round(seconds * rate_hz)]
    return 0.6 * out / numpy.abs(out).max()


def wav(samples, rate_hz=RATE_HZ, bits=16):
    """A WAV file's bytes: integers of 16 or 24 bits, or 32 for floats."""
    samples = numpy.asarray(samples)
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if bits == 32:
        code, data = 3, samples.astype("<f4").tobytes()
    else:
        whole = numpy.clip(numpy.round(samples * (1 << (bits - 1))), -(1 << (bits - 1)), (1 << (bits - 1)) - 1).astype("<i4")
        code = 1
        data = whole.astype("<i2").tobytes() if bits == 16 else whole.reshape(-1, 1).view("u1")[:, :3].tobytes()
    frame = channels * bits // 8
    head = struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * frame, frame, bits)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(data)) + data


def wav_of_size(size, seed=1):
    """A valid 16-bit WAV of just `size` bytes (44 and up; an odd one has a trailing byte)."""
    frames = (size - 44) // 2
    samples = numpy.random.default_rng(seed).integers(-8000, 8000, frames, dtype="<i2").tobytes()
    body = b"RIFF" + struct.pack("<I", size - 8) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return (body + b"data" + struct.pack("<I", len(samples)) + samples).ljust(size, b"\0")


def run(*argv, data=None):
    return subprocess.run(argv, input=data, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


# name -> (argv that reads {in} and writes {out}, or standard output, suffix, format, lossless)
ENCODERS = {
    "aiff": ("sox {in} {out}", "aiff", "aiff", True),
    "aifc-sowt": ("ffmpeg -v error -y -i {in} -c:a pcm_s16le {out}", "aiff", "aiff", True),
    "aifc-ima": ("ffmpeg -v error -y -i {in} -c:a adpcm_ima_qt {out}", "aiff", "aiff", False),
    "caf": ("sox {in} {out}", "caf", "caf", True),
    "caf-piped": ("ffmpeg -v error -i {in} -c:a pcm_s16be -f caf -", "caf", "caf", True),
    "caf-alac": ("ffmpeg -v error -y -i {in} -c:a alac {out}", "caf", "caf", True),
    "caf-ima": ("ffmpeg -v error -y -i {in} -c:a adpcm_ima_qt {out}", "caf", "caf", False),
    "caf-opus": ("ffmpeg -v error -y -i {in} -c:a libopus -b:a 128k {out}", "caf", "caf", False),
    "au": ("sox {in} {out}", "au", "au", True),
    "wav-u8": ("sox {in} -b 8 -e unsigned {out}", "wav", "wav", False),
    "wav-ulaw": ("sox {in} -e mu-law {out}", "wav", "wav", False),
    "wav-ima-adpcm": ("sox {in} -e ima-adpcm {out}", "wav", "wav", False),
    "wav-ms-adpcm": ("ffmpeg -v error -y -i {in} -c:a adpcm_ms {out}", "wav", "wav", False),
    "wav-mp3": ("ffmpeg -v error -y -i {in} -c:a libmp3lame -b:a 160k {out}", "wav", "wav", False),
    "wav-piped": ("ffmpeg -v error -i {in} -f wav -", "wav", "wav", True),
    "rf64": ("ffmpeg -v error -y -i {in} -rf64 always {out}", "wav", "rf64", True),
    "flac": ("flac -s -f -o {out} {in}", "flac", "flac", True),
    "flac-ffmpeg": ("ffmpeg -v error -y -i {in} {out}", "flac", "flac", True),
    "ogg-flac": ("flac -s -f --ogg -o {out} {in}", "oga", "ogg", True),
    "ogg-flac-ffmpeg": ("ffmpeg -v error -y -i {in} -c:a flac {out}", "ogg", "ogg", True),
    "ogg-vorbis": ("oggenc -Q -q 6 -o {out} {in}", "ogg", "ogg", False),
    "ogg-vorbis-ffmpeg": ("ffmpeg -v error -y -i {in} -c:a libvorbis -q:a 6 {out}", "ogg", "ogg", False),
    "ogg-opus": ("opusenc --quiet --bitrate 128 {in} {out}", "opus", "ogg", False),
    "mp3-cbr": ("lame --quiet -b 192 {in} {out}", "mp3", "mp3", False),
    "mp3-vbr": ("lame --quiet -V 2 {in} {out}", "mp3", "mp3", False),
    "mp3-ffmpeg": ("ffmpeg -v error -y -i {in} -b:a 160k {out}", "mp3", "mp3", False),
    "mp3-untagged": ("ffmpeg -v error -y -i {in} -write_xing 0 -b:a 160k {out}", "mp3", "mp3", False),
    "mp3-untagged-vbr": ("lame --quiet -t -V 2 {in} {out}", "mp3", "mp3", False),
    "mp3-piped": ("ffmpeg -v error -i {in} -b:a 160k -f mp3 -", "mp3", "mp3", False),
    "mp2": ("ffmpeg -v error -y -i {in} -c:a mp2 -b:a 192k {out}", "mp2", "mp3", False),
    "w64": ("sox {in} {out}", "w64", "w64", True),
    "w64-piped": ("ffmpeg -v error -i {in} -f w64 -", "w64", "w64", True),
    "aac-adts": ("ffmpeg -v error -y -i {in} -c:a aac -b:a 160k {out}", "aac", "aac", False),
    "m4a": ("ffmpeg -v error -y -i {in} -c:a aac -b:a 160k {out}", "m4a", "mp4", False),
    "m4a-dated": ("ffmpeg -v error -y -i {in} -c:a aac -b:a 160k -metadata creation_time=2024-02-29T12:00:00Z {out}", "m4a", "mp4", False),
    "m4a-moov-first": ("ffmpeg -v error -y -i {in} -c:a aac -b:a 160k -movflags +faststart {out}", "m4a", "mp4", False),
    "mp4-fragments": ("ffmpeg -v error -y -i {in} -c:a aac -b:a 160k -movflags frag_keyframe+empty_moov {out}", "mp4", "mp4", False),
    "m4a-alac": ("ffmpeg -v error -y -i {in} -c:a alac {out}", "m4a", "mp4", True),
    "mov-pcm": ("ffmpeg -v error -y -i {in} -c:a pcm_s16le {out}", "mov", "mp4", True),
    "mov-pcm-u8": ("ffmpeg -v error -y -i {in} -c:a pcm_u8 {out}", "mov", "mp4", False),
    "mov-pcm-f64": ("ffmpeg -v error -y -i {in} -c:a pcm_f64le {out}", "mov", "mp4", True),
    "mov-ima": ("ffmpeg -v error -y -i {in} -c:a adpcm_ima_qt {out}", "mov", "mp4", False),
    "mp4-opus": ("ffmpeg -v error -y -i {in} -c:a libopus -b:a 128k {out}", "mp4", "mp4", False),
    "mp4-flac": ("ffmpeg -v error -y -i {in} -c:a flac -strict -2 {out}", "mp4", "mp4", True),
    "mp4-mp3": ("ffmpeg -v error -y -i {in} -c:a libmp3lame -b:a 160k {out}", "mp4", "mp4", False),
    "3gp-aac": ("ffmpeg -v error -y -i {in} -c:a aac -b:a 160k {out}", "3gp", "3gp", False),
    "webm-vorbis": ("ffmpeg -v error -y -i {in} -c:a libvorbis -q:a 6 {out}", "webm", "webm", False),
    "webm-opus": ("ffmpeg -v error -y -i {in} -c:a libopus -b:a 128k {out}", "webm", "webm", False),
    "webm-opus-live": ("ffmpeg -v error -y -i {in} -c:a libopus -b:a 128k -f webm -live 1 {out}", "webm", "webm", False),
    "matroska-vorbis": ("ffmpeg -v error -y -i {in} -c:a libvorbis -q:a 6 {out}", "mka", "matroska", False),
    "matroska-flac": ("ffmpeg -v error -y -i {in} -c:a flac {out}", "mka", "matroska", True),
    "matroska-aac": ("ffmpeg -v error -y -i {in} -c:a aac -b:a 160k {out}", "mka", "matroska", False),
    "matroska-mp3": ("ffmpeg -v error -y -i {in} -c:a libmp3lame -b:a 160k {out}", "mka", "matroska", False),
    "matroska-opus": ("ffmpeg -v error -y -i {in} -c:a libopus -b:a 128k {out}", "mka", "matroska", False),
    "matroska-pcm": ("ffmpeg -v error -y -i {in} -c:a pcm_s16le {out}", "mka", "matroska", True),
    "wma-1": ("ffmpeg -v error -y -i {in} -c:a wmav1 -b:a 160k {out}", "wma", "wma", False),
    "wma": ("ffmpeg -v error -y -i {in} -c:a wmav2 -b:a 160k {out}", "wma", "wma", False),
}


def encode(name, wav_bytes):
    """The WAV in another format, by the encoder of that name."""
    command, suffix = ENCODERS[name][:2]
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "in.wav"), os.path.join(folder, "out." + suffix)
        with open(source, "wb") as file:
            file.write(wav_bytes)
        printed = run(*[word.format(**{"in": source, "out": target}) for word in command.split()])
        if "{out}" not in command:
            return printed
        with open(target, "rb") as file:
            return file.read()


def speech(text="The quick brown fox jumps over the lazy dog. " * 4):
    return run("espeak-ng", "--stdout", text)


def real_clip(path, start_s, seconds, filters="anull", codec=("-f", "mp3", "-b:a", "96k")):
    """A piece of a music file, filtered and encoded again."""
    return run("ffmpeg", "-v", "error", "-ss", str(start_s), "-t", str(seconds), "-i", path, "-af", filters, *codec, "-")
