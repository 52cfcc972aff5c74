#!/usr/bin/python3
"""Writes the seeds of every fuzz corpus: tests/fuzz/corpus/NAME/seed-*. Small, made here, and the same each time.

Needs ffmpeg for the audio seeds. What a fuzzer finds worth keeping is copied beside them.
"""
import base64
import json
import pathlib
import struct
import subprocess
import tempfile

CORPUS = pathlib.Path(__file__).parent / "corpus"


def put(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(content)


def audio(*options):
    """50 ms of a 440 Hz tone in some format."""
    return subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=440:duration=0.05:sample_rate=8000", "-bitexact", *options, "-"],
        check=True, stdout=subprocess.PIPE).stdout


def audio_file(suffix, *options):
    """The same in a format that needs a file to go back in."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"x.{suffix}"
        audio(*options, str(path), "-f", "null")
        return path.read_bytes()


def param(number, value):
    return struct.pack("<HHI", number, 0, len(value)) + value


def multipart(*parts, close=b"--x--\r\n"):
    body = b"\x07"
    for name, value in parts:
        body += b'--x\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value + b"\r\n"
    return body + close


put("params", "two", param(1, b"0.5") + param(4, b"4096"))
put("params", "empty", b"")
put("params", "twice", param(1, b"0.5") + param(1, b"0.5"))
put("params", "long", struct.pack("<HHI", 1, 0, 0xFFFFFFFF) + b"x")
put("query", "plain", b"fft_size=4096&window=hann&unknown=1")
put("query", "escapes", b"title=a%20b+c%&artist=%zz&isrc=%00")
put("query", "twice", b"peaks=1&peaks=2")
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
put("headers", "exact", b"https://App.example.com:443\nhttps://app.example.com\n" + TRACE + b"\nme " + b"0a" * 32 + b" roles=ops rate=gold # x")
put("headers", "wildcard", b"https://*.example.com\nhttps://a.b.example.com\ncc" + TRACE[2:] + b"-more\nme x")
put("headers", "port", b"http://*.example.com:8080\nhttp://a.example.com:8080\n" + TRACE + b"\n# comment")
put("headers", "address", b"http://[::1]:8080\nhttp://[::1]:8080\nff" + TRACE[2:] + b"\n")
put("headers", "null", b"null\nnull\n\n")
put("multipart", "audio", multipart((b"fft_size", b"4096"), (b"file", b"RIFF\r\n--y\r\n"), (b"peaks", b"3")))
put("multipart", "cut", multipart((b"file", b"abc"), close=b""))
put("multipart", "preamble", b"\x01preamble\r\n" + multipart((b"sample", b"--x"))[1:] + b"epilogue")
put("multipart", "no-name", b"\x02--x\r\nContent-Type: a\r\n\r\nabc\r\n--x--")
wav = audio("-f", "wav")
put("envelope", "audio", json.dumps({"audio": base64.b64encode(wav[:64]).decode(), "fft_size": 4096, "peaks": "3"}).encode())
put("envelope", "metadata", b'{"audio":"","metadata":{"a":[1,2,{"b":null}]},"multi":true,"title":"\\u00e9"}')
put("envelope", "twice", b'{"title":"a","title":"b"}')
put("envelope", "deep", b'{"metadata":' + b"[" * 600 + b"]" * 600 + b"}")
put("envelope", "cut", b'{"audio":"AAAA')
put("decoder", "wav", wav)
put("decoder", "wav-nan", wav[:20] + struct.pack("<H", 3) + wav[22:])
put("decoder", "aiff", audio("-f", "aiff"))
put("decoder", "au", audio("-f", "au"))
put("decoder", "caf", audio("-f", "caf"))
put("decoder", "flac", audio("-f", "flac"))
put("decoder", "mp3", audio("-f", "mp3", "-ar", "16000"))
put("decoder", "mp3-tagged", b"ID3\4\0\0\0\0\0\4text" + audio_file("mp3", "-ar", "16000") + b"TAG".ljust(128, b"\0"))
put("decoder", "wav-mp3", audio("-f", "wav", "-c:a", "libmp3lame", "-ar", "16000"))
put("decoder", "ogg-flac", audio("-f", "ogg", "-c:a", "flac"))
put("decoder", "caf-ima", audio("-f", "caf", "-c:a", "adpcm_ima_qt"))
put("decoder", "caf-alac", audio_file("caf", "-c:a", "alac"))
put("decoder", "caf-opus", audio_file("caf", "-c:a", "libopus", "-ar", "48000"))
put("decoder", "mov-pcm", audio_file("mov", "-c:a", "pcm_f64le"))
put("decoder", "vorbis", audio("-f", "ogg", "-c:a", "libvorbis"))
put("decoder", "opus", audio("-f", "ogg", "-c:a", "libopus", "-ar", "48000"))
put("decoder", "w64", audio("-f", "w64"))
put("decoder", "adts", audio("-f", "adts", "-c:a", "aac"))
put("decoder", "mp4", audio_file("mp4", "-c:a", "aac"))
put("decoder", "mp4-dated", audio_file("mp4", "-c:a", "aac", "-metadata", "creation_time=2026-01-02T03:04:05Z"))
put("decoder", "mp4-fragments", audio("-f", "mp4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"))
put("decoder", "mp4-alac", audio_file("mp4", "-c:a", "alac"))
put("decoder", "webm", audio("-f", "webm", "-c:a", "libopus", "-ar", "48000", "-live", "1"))
put("decoder", "matroska-vorbis", audio("-f", "matroska", "-c:a", "libvorbis"))
put("decoder", "matroska-flac", audio("-f", "matroska", "-c:a", "flac"))
put("decoder", "wma", audio("-f", "asf", "-c:a", "wmav2"))
put("decoder", "amr", b"#!AMR\n" + bytes([0x3C] + [0x55] * 31) * 3)
put("packing", "empty", b"SGFP" + struct.pack("<BBHIfII", 1, 0, 8000, 1000, 0.0, 0, 0))
put("record", "magic", b"SGRC" + struct.pack("<BBHIdQ", 1, 0, 0, 5, 1e-6, 1000) + struct.pack("<IIII", 2, 0, 0, 0)[:4] + b"{}" + struct.pack("<III", 0, 0, 0))
# A step is a byte, then what it takes: see the two targets. 2 is a hello, 5 receives, 6 takes entries, 4 moves the tail.
settings = b"\0\0\0"
put("link", "welcome", b"\2" + settings + b"\5\3\1\1\5\4\1\6\7\4body\6")
put("link", "tail", b"\2" + settings + b"\5\4\xff\6")
put("link", "packet", b"\0\1\1\0x\5\0\0\4\0abcd\5")
done = struct.pack("<QHHIQ", 1, 200, 1, 0, 16).ljust(256, b"\0")
put("channel", "answer", b"\2\5\7\3\0" + done + b"\4\1\6")
put("channel", "file", b"\2\5\7\3\0" + struct.pack("<QHHIQ", 1, 200, 2, 9, 16).ljust(256, b"\0") + b"\4\1\6")
put("channel", "tail", b"\2\5\7\4\x20\6")
