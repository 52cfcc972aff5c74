"""scripts/serve: side by side, by an ordinary user, and leaving nothing."""

import os
import pwd
import shutil
import signal
import subprocess

import pytest

from contract import assert_job_answer
from served import Served
from sounds import tone, wav

FILE = wav(tone(440, 0.5))


def analyze(server):
    return assert_job_answer(server.post("/v1/analyze", data=FILE), "analyze")


def test_two_side_by_side_know_nothing_of_each_other(serve):
    first, second = serve(), serve()
    for server in (first, second):
        analyze(server)
        assert server.get("/v1/tracks").json()["tracks"] == []
    first.stop()
    analyze(second)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(serve, number):
    server = serve()
    analyze(server)
    server.stop(number)


def test_it_starts_again_in_the_same_folder(serve):
    server = serve()
    analyze(server)
    server.stop()
    server.start()
    analyze(server)


def test_it_starts_again_after_everything_was_killed(serve):
    server = serve()
    analyze(server)
    server.kill_all()
    server.start()
    analyze(server)


def open_files(pids):
    """Ordinary files of the file system that any of these processes has open; memfds are none."""
    found = set()
    for pid in pids:
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                path = os.readlink(f"/proc/{pid}/fd/{number}")
                if os.path.isfile(path):
                    found.add(path)
            except FileNotFoundError:
                continue
    return found


def test_all_files_are_in_the_state_folder(serve):
    server = serve()
    analyze(server)
    opened = open_files(server.pids("nginx") + server.pids("sonogated"))
    assert any(path.startswith(server.state) for path in opened)
    outside = {path for path in opened if path.startswith(("/tmp/", "/var/", "/dev/shm/")) and not path.startswith(server.state)}
    assert outside <= {server.output_path}
    assert not [name for name in os.listdir("/dev/shm") if "sono" in name]
    for name in ("run", "logs", "catalog.db"):
        assert os.path.exists(os.path.join(server.state, name)), os.listdir(server.state)


def test_a_second_serve_on_the_same_folder_or_port_is_refused(serve, tmp_path):
    server = serve()
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "scripts/serve")
    for port, state in ((server.port + 1, server.state), (server.port, tmp_path / "other")):
        out = subprocess.run([script, "--port", str(port), "--state", state, "--conf", server.conf_path], capture_output=True, text=True, timeout=60, check=False)
        assert out.returncode != 0
        assert out.stderr.strip()
    analyze(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is missing")
def test_an_ordinary_user_may_run_it(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nobody")
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.parents):
        if str(path) == "/tmp":
            break
        os.chmod(path, 0o755)
    server = Served(folder, ["setpriv", "--reuid", "nobody", "--regid", str(nobody.pw_gid), "--clear-groups"])
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    try:
        server.start()
        analyze(server)
        for pid in server.seen:
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                assert f"Uid:\t{nobody.pw_uid}\t" in file.read()
    finally:
        server.stop()
