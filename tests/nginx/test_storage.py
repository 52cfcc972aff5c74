"""A full disk: what was acknowledged stays, nothing new is acknowledged, everything else goes on."""

import errno
import os
import resource
import subprocess

import pytest

from contract import assert_job_answer, assert_problem
from served import Served, reachable_folder, wait_until
from sounds import music, tone, wav

DISK_MIB = 24


def song(number):
    return wav(music(700 + number, 12))


def enrol(server, number):
    return server.post("/v1/tracks", params={"track_id": f"t{number}"}, data=song(number))


def assert_found(server, number):
    out = assert_job_answer(server.post("/v1/identify", data=song(number)), "identify")
    assert out["match"] is True and out["matches"][0]["track_id"] == f"t{number}"


class SmallDisk:
    """A file system of the state folder's own, filled to its last byte: ENOSPC for all, logs included."""

    def __init__(self, state):
        os.makedirs(state)
        self.state = state
        self.filler = os.path.join(state, "filler")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=755", "tmpfs", state], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"this user may not mount a small disk: {mounted.stderr.strip()}")

    def fill(self, _):
        with open(self.filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def free(self, _):
        os.unlink(self.filler)

    def close(self):
        subprocess.run(["umount", self.state], check=True)


class FileSizeLimit:
    """The librarian may make no file longer than it is: EFBIG, as a quota has it, for ordinary users too."""

    def __init__(self, _):
        self.before = None

    def fill(self, server):
        (librarian,) = server.pids("sonogated: librarian")
        size = os.path.getsize(os.path.join(server.state, "catalog.db-wal"))
        self.before = resource.prlimit(librarian, resource.RLIMIT_FSIZE)
        resource.prlimit(librarian, resource.RLIMIT_FSIZE, (size, self.before[1]))

    def free(self, server):
        (librarian,) = server.pids("sonogated: librarian")
        resource.prlimit(librarian, resource.RLIMIT_FSIZE, self.before)

    def close(self):
        pass


@pytest.mark.parametrize("kind", [SmallDisk, FileSizeLimit])
def test_a_full_disk_is_507_and_loses_nothing(tmp_path_factory, kind):
    server = Served(reachable_folder(tmp_path_factory, "disk"))
    disk = kind(server.state)
    try:
        server.start()
        for number in range(3):
            assert enrol(server, number).status_code == 201
        disk.fill(server)
        librarian = server.pids("sonogated: librarian")
        for number in range(3, 6):
            problem = assert_problem(enrol(server, number), 507, "insufficient-storage")
            assert "limit" not in problem
        # There already, so nothing is written; but at the door of a full disk nobody knows that.
        assert enrol(server, 0).status_code == (507 if kind is SmallDisk else 200)
        assert server.request("PATCH", "/v1/tracks/t1", json={"title": "x" * 512}).status_code in (200, 507)
        for number in range(3):
            assert_found(server, number)
        listed = server.get("/v1/tracks").json()["tracks"]
        assert sorted(track["track_id"] for track in listed) == ["t0", "t1", "t2"]
        assert_job_answer(server.post("/v1/analyze", data=wav(tone(440))), "analyze")
        assert server.pids("sonogated: librarian") == librarian, "the librarian died of it"

        disk.free(server)
        assert wait_until(lambda: enrol(server, 3).status_code == 201)
        server.kill_all()
        server.start()
        for number in range(4):
            assert_found(server, number)
        assert server.get("/v1/tracks/t4").status_code == 404
        server.stop()
    finally:
        server.stop()
        disk.close()
