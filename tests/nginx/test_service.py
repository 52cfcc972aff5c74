"""The daemon as a service: what it tells systemd, its unit files, and its log."""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import pytest

from contract import assert_job_answer, assert_problem
from load import FRESH
from served import BUILD, REPOSITORY, wait_until
from sounds import noise, tone, wav

SHORT, LONG = wav(tone(440, 0.5)), wav(noise(10, 0.3))
UNIT = os.path.join(REPOSITORY, "packaging/sonogated.service")


class Manager:
    """A NOTIFY_SOCKET, and what was sent to it."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.socket.setblocking(False)
        self.told = []

    def hears(self, line):
        """How often that line was told so far."""
        while True:
            try:
                self.told += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                break
        return sum(bool(re.fullmatch(line, each)) for each in self.told)


def state_of(pid):
    """One letter, as ps has it."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_systemd_is_told_of_start_life_and_end(serve, tmp_path):
    manager = Manager(tmp_path)
    server = serve(command=["env", f"NOTIFY_SOCKET={manager.path}", "WATCHDOG_USEC=2000000"], pool="drain_timeout 7s;")
    # Nobody has read a word until now, and the queue holds ten: who is not heard does not wait.
    wait_until(lambda: manager.hears("READY=1") == 1)
    wait_until(lambda: manager.hears(r"STATUS=(\d+) of \1 workers, catalog open, \d links"))
    wait_until(lambda: manager.hears("WATCHDOG=1") >= 3)
    # Only a loop that turns says so: neither a timer nor a child does it for one that stands still.
    (broker,) = server.pids("sonogated: broker")
    os.kill(broker, signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(broker) == "T")
        before = manager.hears("WATCHDOG=1")
        # Missed by nginx, so it stood still for 3 s; it beats each second.
        wait_until(lambda: server.get("/ready").json()["parts"]["link"]["state"] == "hung")
        assert manager.hears("WATCHDOG=1") == before
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_until(lambda: manager.hears("WATCHDOG=1") > before)
    os.kill(broker, signal.SIGTERM)
    wait_until(lambda: manager.hears("STOPPING=1"))
    assert manager.hears("EXTEND_TIMEOUT_USEC=12000000") == 1
    wait_until(lambda: manager.hears("READY=1") == 2)  # the next one


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_the_units_are_good(tmp_path):
    for name in ("sonogated.service", "sonogated.socket"):
        with open(os.path.join(REPOSITORY, "packaging", name), encoding="ascii") as file:
            (tmp_path / name).write_text(file.read().replace("/usr/sbin/sonogated", f"{BUILD}/sonogated"))
    units = [str(tmp_path / "sonogated.service"), str(tmp_path / "sonogated.socket")]
    out = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False)
    assert out.returncode == 0, out.stderr
    assert "sonogated" not in out.stderr, out.stderr
    out = subprocess.run(["systemd-analyze", "security", "--offline=true", units[0]], capture_output=True, text=True, timeout=60, check=False)
    exposure = float(re.search(r"exposure level for sonogated.service: ([0-9.]+)", out.stdout)[1])
    assert exposure <= 2.5, out.stdout


def test_the_unit_speaks_the_daemons_language():
    with open(UNIT, encoding="ascii") as file:
        command = re.search(r"^ExecStart=(.*)$", file.read(), re.MULTILINE)[1]
    help_text = subprocess.run([f"{BUILD}/sonogated", "--help"], capture_output=True, text=True, timeout=10, check=True).stdout
    for option in re.findall(r"--[a-z-]+", command):
        assert option in help_text


def lines_of(server):
    return [json.loads(line) for line in server.daemon_log().splitlines()]


def test_the_log_is_json_with_request_ids_and_its_level_follows_a_reload(serve):
    server = serve(command=["env", "SONOGATE_LOG_FORMAT=json"], pool="log_level debug; job_deadline 2s;", location="sonogate_max_body 64m;")
    trace = "0af7651916cd43dd8448eb211c80319c"
    late = {"X-Request-Id": 'late"}\\u0000{"', "traceparent": f"00-{trace}-b7ad6b7169203331-01"} | FRESH
    assert_problem(server.post("/v1/analyze?fft_size=262144&hop=16", data=LONG, headers=late), 504, "deadline-exceeded")
    # MP3 in a WAV: libsndfile looks at it first, whose libmpg123 would write to standard error by itself.
    noise_mp3 = b"\xff\xfb\x90\x00" + bytes(range(256)) * 200
    mp3_wav = struct.pack("<4sI8sIHHIIHHHHIHHH", b"RIFF", 50 + len(noise_mp3), b"WAVEfmt ", 30, 0x55, 2, 44100, 16000, 1, 0, 12, 1, 2, 417, 1, 1393)
    server.post("/v1/analyze", data=mp3_wav + struct.pack("<4sI", b"data", len(noise_mp3)) + noise_mp3, headers=FRESH)
    assert_job_answer(server.post("/v1/analyze", data=SHORT, headers=FRESH | {"X-Request-Id": "seen-1"}), "analyze")

    def seen(request_id):
        return [line for line in lines_of(server) if line.get("request_id") == request_id]

    for line in lines_of(server):
        assert {"time", "level", "pool", "process", "message"} <= set(line), line
    (told,) = [line for line in seen('late"}\\u0000{"') if line["message"] == "past its deadline"]
    assert (told["level"], told["process"], told["trace_id"]) == ("warning", "broker", trace)
    wait_until(lambda: any(re.fullmatch(r"worker \d+ answered: done", line["message"]) for line in seen("seen-1")))
    server.change_conf(pool="log_level error; job_deadline 2s;", location="sonogate_max_body 64m;")
    old = set(server.pids("nginx: worker"))
    server.reload()
    wait_until(lambda: not old & set(server.pids("nginx: worker")))
    for i in range(8):
        server.post("/v1/analyze", data=SHORT, headers=FRESH | {"X-Request-Id": f"unseen-{i}"})
    assert not any(seen(f"unseen-{i}") for i in range(8))
