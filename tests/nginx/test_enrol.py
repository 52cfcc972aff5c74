"""sonogated enrol: a music library over HTTP, interrupted and resumed."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from contract import assert_job_answer
from served import BUILD, wait_until
from sounds import RATE_HZ, music, run, wav

SONOGATED = os.path.join(BUILD, "sonogated")
COUNT = 24


def write_tagged(path, sound, **tags):
    metadata = [word for name, value in tags.items() for word in ("-metadata", f"{name}={value}")]
    run("ffmpeg", "-v", "error", "-y", "-i", "-", *metadata, str(path), data=wav(sound))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Folders of music, a few of them tagged, and what a library has besides."""
    folder = tmp_path_factory.mktemp("library")
    base = music(900, 40)
    for i in range(COUNT):
        album = folder / f"album {i % 3}"
        album.mkdir(exist_ok=True)
        (album / f"song {i:02}.wav").write_bytes(wav(base[i * RATE_HZ : (i + 6) * RATE_HZ]))
    write_tagged(folder / "album 0/tagged.mp3", music(901, 8), title="Ein Lied", artist="Jemand", album="Die Platte", TSRC="DEA000000001")
    write_tagged(folder / "album 1/tagged.flac", music(902, 8), title="Größe", artist="Å & B", ISRC="DE-A00-00-00002")
    write_tagged(folder / "album 2/tagged.ogg", music(903, 8), title="x" * 700, isrc="not an isrc!")
    write_tagged(folder / "album 2/tagged.m4a", music(904, 8), title="Atom", artist="MP4", album="Boxes")
    (folder / "album 0/cover.jpg").write_bytes(b"\xff\xd8\xff" * 50)
    (folder / "album 0/broken.mp3").write_bytes(b"ID3 is all there is of it" * 40)
    (folder / "album 1/silent.wav").write_bytes(wav(0 * base[: 3 * RATE_HZ]))
    (folder / "album 1/the same again.wav").write_bytes((folder / "album 0/song 00.wav").read_bytes())
    return folder


def start(server, *sources, **options):
    environment = {k: v for k, v in os.environ.items() if k != "SONOGATE_KEY"} | options.pop("environment", {})
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return subprocess.Popen([SONOGATED, "enrol", "--url", server.base, *flags, *map(str, sources)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env=environment)


def enrol(server, *sources, status=0, stdin=None, **options):
    process = start(server, *sources, **options)
    out, said = process.communicate(stdin, timeout=120)
    assert process.returncode == status, (process.returncode, out, said)
    failures = dict(line.split("\t") for line in out.splitlines())
    counts = re.search(r"(\d+) enrolled, (\d+) already there, (\d+) failed", said)
    return [int(n) for n in counts.groups()] if counts else None, failures, said


def tracks(server):
    return {t["track_id"]: t for t in server.get("/v1/tracks?limit=100").json()["tracks"]}


def test_a_library_is_enrolled_told_of_and_resumed_after_a_kill(serve, library):
    server = serve()
    process = start(server, library, at_once=1)
    wait_until(lambda: len(tracks(server)) >= 3, step=0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    early = wait_until(lambda: tracks(server))
    assert 3 <= len(early)

    counts, failures, said = enrol(server, library, status=1)
    assert sum(counts) == COUNT + 7 and counts[2] == 2
    assert counts[1] >= 3, "what was enrolled before is not sent again"
    assert "1 files are left out" in said and "x real time" in said
    assert {os.path.basename(path): why.split(":")[0] for path, why in failures.items()} == {"broken.mp3": failures_of("broken", failures), "silent.wav": "422 silent"}

    there = tracks(server)
    assert len(there) == COUNT + 4
    assert all(there[i]["created_at"] == early[i]["created_at"] for i in early)
    assert all(track_id == track["sha256"] for track_id, track in there.items())
    assert enrol(server, library, status=1)[0] == [0, COUNT + 5, 2]
    tags = {t["title"][:8]: (t["artist"], t["album"], t["isrc"]) for t in there.values()}
    assert tags["Ein Lied"] == ("Jemand", "Die Platte", "DEA000000001")
    assert tags["Größe"] == ("Å & B", "", "DE-A00-00-00002")
    assert tags["x" * 8] == ("", "", "")
    assert tags["Atom"] == ("MP4", "Boxes", "")
    assert tags["song 05"] == ("", "", "")
    found = assert_job_answer(server.post("/v1/identify", data=wav(music(902, 8)[RATE_HZ : 7 * RATE_HZ])), "identify")
    assert found["matches"][0]["title"] == "Größe"


def failures_of(name, failures):
    """No audio at all is 415, something like an MP3 without a frame 422: either is the truth."""
    (why,) = [why.split(":")[0] for path, why in failures.items() if name in path]
    assert why in ("415 unsupported-format", "422 undecodable")
    return why


def test_lists_and_single_files_are_taken(serve, library, tmp_path):
    server = serve()
    names = [str(library / f"album {i}/song 0{i}.wav") for i in range(3)]
    (tmp_path / "list.txt").write_text("\n".join(names[:2]) + "\r\n\n", encoding="utf-8")
    assert enrol(server, tmp_path / "list.txt")[0] == [2, 0, 0]
    assert enrol(server, names[0], "-", stdin=names[2] + "\n")[0] == [1, 1, 0]
    counts, failures, _ = enrol(server, "-", stdin="/does/not/exist.mp3\n", status=1)
    assert counts == [0, 0, 1] and failures == {"/does/not/exist.mp3": "No such file or directory"}
    assert enrol(server, tmp_path / "nothing.txt", status=1)[0] == [0, 0, 0]
    copy = tmp_path / "other name.wav"
    shutil.copy(names[0], copy)
    assert enrol(server, copy)[0] == [0, 1, 0]


def test_keys_are_used_and_a_refusal_ends_it(serve, library, tmp_path):
    key_file = tmp_path / "keys"
    key = run(SONOGATED, "key", "add", "cat", "--roles", "catalog", "--file", str(key_file)).decode().strip()
    server = serve(files={"keys": key_file.read_text()}, location="sonogate_keys keys;")
    song = library / "album 0/song 00.wav"
    counts, failures, said = enrol(server, library, status=2)
    assert counts == [0, 0, 0] and not failures and "401 unauthenticated" in said
    (tmp_path / "key").write_text(key + "\n", encoding="ascii")
    assert enrol(server, song, key_file=tmp_path / "key")[0] == [1, 0, 0]
    assert enrol(server, song, environment={"SONOGATE_KEY": key})[0] == [0, 1, 0]
    assert "holds no key" in enrol(server, song, key_file=tmp_path / "none", status=2)[2]


def test_it_waits_where_the_service_asks_to(serve, library):
    server = serve(http="sonogate_rate_zone up:1m key=$remote_addr;", location="sonogate_rate zone=up 120r/m burst=3;")
    assert enrol(server, *[library / f"album {i}/song 0{i}.wav" for i in range(3)], at_once=3)[0] == [3, 0, 0]


def test_it_waits_for_a_daemon_that_starts_again(serve, library):
    server = serve()
    (daemon,) = server.pids("sonogated: broker")
    process = start(server, library / "album 2", at_once=2)
    wait_until(lambda: tracks(server), step=0.01)
    server.kill(daemon)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert len(tracks(server)) == COUNT // 3 + 2
