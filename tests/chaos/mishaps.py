"""What goes wrong, one a second: kills, stops, reloads, upgrades, restarts, a full disk, short memory, files that crash.

For: doing it to a running server, undoing it, and remembering when. Not for: judging answers (clients.py).
"""

import contextlib
import os
import signal
import threading
import time

import requests

from served import command_of, is_running, wait_until
from sounds import noise, run, wav

# How long after a mishap its effects may be felt: a daemon that restarts backs off for up to 5 s, and reads its catalog.
AFTERMATH_S = 15.0
KILLED = {
    "kill worker": "sonogated: worker",
    "kill librarian": "sonogated: librarian",
    "kill broker": "sonogated: broker",
    "kill zygote": "sonogated: zygote",
    "kill nginx worker": "nginx: worker",
}
STOPPED = ("sonogated: worker", "sonogated: librarian", "sonogated: broker", "nginx: worker")


class Mishaps:
    def __init__(self, server, chance, disk=None):
        self.server, self.chance, self.disk = server, chance, disk
        self.began = time.monotonic()
        self.history = []  # (kind, from, until)
        self.skipped = 0
        self.lock = threading.Lock()
        self.threads = []
        self.long_job = wav(noise(30, 0.3, 77))
        self.bomb = run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono", "-t", "1800", "-f", "flac", "-")
        self.kinds = [lambda kind=kind: self.kill(kind) for kind in KILLED]
        self.kinds += [self.stop_and_continue] * 3 + [self.reload, self.upgrade_nginx, self.restart_daemon, self.memory_pressure, self.crashing_audio]
        if disk:
            self.kinds.append(self.disk_full)

    # ---- memory of it

    def happened(self, kind, since):
        """True where one of that kind was felt at any time after `since`."""
        with self.lock:
            return any(name == kind and until is None or name == kind and until + AFTERMATH_S >= since for name, _, until in self.history)

    def note(self, kind, seconds=0.0):
        now = time.monotonic()
        with self.lock:
            self.history.append((kind, now, now + seconds))

    def around(self, since):
        """What happened from three seconds before `since`, for who looks for a cause."""
        with self.lock:
            return [f"{at - self.began:.2f} {kind}" for kind, at, until in self.history if until >= since - 3]

    def tally(self):
        kinds = [kind for kind, _, _ in self.history]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    def later(self, work):
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.threads.append(thread)

    def one(self):
        try:
            self.chance.choice(self.kinds)()
        except (ProcessLookupError, FileNotFoundError, IndexError):
            self.skipped += 1  # what it was to happen to died meanwhile

    def end(self):
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    # ---- the mishaps

    def kill(self, kind):
        pid = self.chance.choice(self.server.pids(KILLED[kind]))
        self.note(kind)
        self.server.kill(pid)

    def stop_and_continue(self):
        role = self.chance.choice(STOPPED)
        pid = self.chance.choice(self.server.pids(role))
        seconds = self.chance.uniform(0.1, 4.0)
        os.kill(pid, signal.SIGSTOP)
        self.note(f"stop {role.split(': ')[1]}" if role.startswith("sonogated") else "stop nginx worker", seconds)

        def proceed():
            time.sleep(seconds)
            if is_running(pid) and command_of(pid).startswith(role.split(":")[0]):
                os.kill(pid, signal.SIGCONT)

        self.later(proceed)

    def master(self):
        return self.server.pids("nginx: master")[0]

    def reload(self):
        self.note("reload")
        os.kill(self.master(), signal.SIGHUP)

    def upgrade_nginx(self):
        """USR2, and QUIT to the old one as soon as the new one has workers; the documented procedure."""
        masters = self.server.pids("nginx: master")
        if len(masters) != 1:
            self.skipped += 1
            return
        self.note("upgrade nginx", 10)
        old = masters[0]
        os.kill(old, signal.SIGUSR2)

        def leave():
            try:
                wait_until(lambda: len(self.server.pids("nginx: master")) == 2, 10)
                time.sleep(0.5)
                os.kill(old, signal.SIGQUIT)
            except (AssertionError, ProcessLookupError):
                self.skipped += 1

        self.later(leave)

    def restart_daemon(self):
        """SIGTERM: it drains; scripts/serve starts it again."""
        self.note("restart daemon", 5)
        os.kill(self.server.pids("sonogated: broker")[0], signal.SIGTERM)

    def disk_full(self):
        seconds = self.chance.uniform(0.3, 1.5)
        self.note("disk full", seconds)
        path = f"/proc/{self.server.process.pid}/root{self.disk}/fill"
        with open(path, "wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 65536):
                    pass
            except OSError:
                pass

        def free():
            time.sleep(seconds)
            with contextlib.suppress(FileNotFoundError):  # where serving has ended by then
                os.unlink(path)

        self.later(free)

    def memory_pressure(self):
        """A transform of more samples than job_memory holds, beside uploads that fill upload_memory."""
        self.note("memory pressure", 3)

        def send():
            try:
                requests.post(self.server.base + "/v1/analyze?fft_size=0&features=levels", data=self.bomb, timeout=60)
            except requests.RequestException:
                pass  # what becomes of it is test_memory's matter

        for _ in range(2):
            self.later(send)

    def crashing_audio(self):
        """A file that kills whoever works on it: the busiest worker, until the answer is there. With SIGKILL, which is
        what process 1 of a namespace cannot ignore; it counts where it ends both workers of one job."""
        self.note("crashing audio", 3)

        def crash():
            stop = threading.Event()

            def send():
                try:
                    requests.post(self.server.base + "/v1/analyze?hop=32&fft_size=8192", data=self.long_job, timeout=60)
                except requests.RequestException:
                    pass
                stop.set()

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            deadline = time.monotonic() + 10
            while not stop.wait(0.2) and time.monotonic() < deadline:
                busy = max(self.server.pids("sonogated: worker"), key=cpu_ticks, default=None)
                if busy:
                    try:
                        os.kill(busy, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            sender.join(60)

        self.later(crash)


def cpu_ticks(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11])
    except OSError:
        return -1
