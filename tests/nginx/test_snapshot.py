"""sonogated catalog export, import, verify: beside a daemon that serves, and by themselves."""

import concurrent.futures
import os
import re
import shutil
import sqlite3
import subprocess

import pytest

from contract import assert_job_answer
from served import BUILD, Served, reachable_folder
from sounds import RATE_HZ, music, wav

SONOGATED = os.path.join(BUILD, "sonogated")


def catalog(*arguments, status=0):
    """Runs `sonogated catalog …`; gives what it said."""
    done = subprocess.run([SONOGATED, "catalog", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


def tracks_of(text):
    return int(re.search(r"(\d+) tracks,", text)[1])


def enrol(server, number):
    sound = wav(music(800 + number % 3, 12)[: (6 + number) * RATE_HZ // 2])  # a prefix each: quick to make
    answer = server.post("/v1/tracks", params={"track_id": f"t{number}", "title": f"Nummer {number}", "metadata": '{"n":%d}' % number}, data=sound)
    assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A server with a few tracks, and an export of it taken while it enrolled."""
    server = Served(reachable_folder(tmp_path_factory, "snapshot")).start()
    folder = tmp_path_factory.mktemp("exports")
    try:
        for number in range(8):
            enrol(server, number)
        assert server.request("DELETE", "/v1/tracks/t7").status_code == 204
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            more = [pool.submit(enrol, server, number) for number in range(8, 16)]
            files = []
            while not all(m.done() for m in more):
                files.append(folder / f"{len(files)}.sonogate")
                catalog("export", "--state", server.state, files[-1])
            [m.result() for m in more]
        files.append(folder / "last.sonogate")
        catalog("export", "--state", server.state, files[-1])
        yield server, files
    finally:
        server.stop()


def test_each_export_is_one_moment_of_a_catalog_that_goes_on(exported):
    _, files = exported
    told = [tracks_of(catalog("verify", file)) for file in files]
    assert told == sorted(told) and told[0] >= 7 and told[-1] == 15
    for file in files:
        assert "as exported" in catalog("verify", file)
        assert os.stat(file).st_mode & 0o077 == 0, "texts and audio are nobody else's"
    assert sorted(os.listdir(files[0].parent)) == sorted(file.name for file in files), "nothing else is left"


def test_a_catalog_in_use_can_be_verified(exported):
    server, _ = exported
    assert tracks_of(catalog("verify", os.path.join(server.state, "catalog.db"))) == 15
    assert server.get("/ready").status_code == 200


def test_an_import_serves_what_was_exported(exported, tmp_path_factory):
    server, files = exported
    folder = reachable_folder(tmp_path_factory, "restored")
    os.makedirs(folder / "state")
    assert tracks_of(catalog("import", "--state", folder / "state", files[-1])) == 15
    assert "is there already" in catalog("import", "--state", folder / "state", files[-1], status=1)
    other = Served(folder).start()
    try:
        assert other.get("/v1/tracks?limit=100").json()["tracks"] == server.get("/v1/tracks?limit=100").json()["tracks"]
        found = assert_job_answer(other.post("/v1/identify", data=wav(music(801, 12)[RATE_HZ : 5 * RATE_HZ])), "identify")
        assert found["match"] is True
        enrol(other, 20)  # it is a catalog like any other
        assert other.request("DELETE", "/v1/tracks/t1").status_code == 204
        assert "being served" in catalog("import", "--state", other.state, files[-1], status=1)
    finally:
        other.stop()
    assert tracks_of(catalog("verify", folder / "state/catalog.db")) == 15


def test_an_export_overwrites_nothing(exported):
    server, files = exported
    assert "is there already" in catalog("export", "--state", server.state, files[0], status=1)
    assert "cannot be opened" in catalog("export", "--state", files[0].parent, files[0].parent / "none", status=1)
    assert not (files[0].parent / "none").exists()


def changed(file, sql, *values):
    with sqlite3.connect(file) as database:
        database.execute(sql, values)
    database.close()


DAMAGES = {
    "a fingerprint": (lambda f: changed(f, "UPDATE tracks SET fingerprint=? WHERE id='t2'", b"\0" * 99), "track t2 has a damaged fingerprint"),
    "a title": (lambda f: changed(f, "UPDATE tracks SET title='x' WHERE id='t2'"), "holds other tracks than were exported"),
    "a track less": (lambda f: changed(f, "DELETE FROM tracks WHERE id='t2'"), "holds other tracks than were exported"),
    "a count": (lambda f: changed(f, "UPDATE tracks SET hashes=hashes+1 WHERE id='t3'"), "track t3 has another number of hashes"),
    "a newer schema": (lambda f: changed(f, "PRAGMA user_version=99"), "schema version 99"),
    "another program": (lambda f: changed(f, "PRAGMA application_id=7"), "not a catalog of sonogate"),
    "pages": (lambda f: scribble(f, 8192, b"\xa5" * 20000), ""),
    "its end": (lambda f: os.truncate(f, os.path.getsize(f) // 2), ""),
    "all of it": (lambda f: f.write_bytes(b"RIFF" * 5000), ""),
}


def scribble(file, at, data):
    with open(file, "r+b") as out:
        out.seek(at)
        out.write(data)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_export_is_told_and_not_imported(exported, tmp_path, damage):
    file = tmp_path / "copy.sonogate"
    shutil.copy(exported[1][-1], file)
    spoil, said = DAMAGES[damage]
    spoil(file)
    assert said in catalog("verify", file, status=1)
    state = tmp_path / "state"
    state.mkdir()
    assert said in catalog("import", "--state", state, file, status=1)
    assert not (state / "catalog.db").exists() and not (state / "catalog.db.partial").exists()


def test_a_copied_catalog_is_no_export(exported, tmp_path):
    file = tmp_path / "copy.db"
    with sqlite3.connect(os.path.join(exported[0].state, "catalog.db")) as source, sqlite3.connect(file) as copy:
        source.backup(copy)
    assert tracks_of(catalog("verify", file)) == 15
    (tmp_path / "state").mkdir()
    assert "seal" in catalog("import", "--state", tmp_path / "state", file, status=1)
