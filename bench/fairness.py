#!/usr/bin/python3
"""What one client with 200 hour-long files does to the 5 s clips of others.

Three clients send a clip each, again and again, with a pause; first alone, then while a fourth keeps 200 hour-long files
in flight. The clients' latencies, and the machine's part in them: the load client shares the cores with the servers.
Writes bench/results/DATE-fairness.md.
"""

import argparse
import datetime
import http.client
import os
import platform
import subprocess
import tempfile
import threading
import time

import numpy

from servers import REPOSITORY, Sonogate
from transport import wav

RATE_HZ = 44100
OTHERS = 3
POOL = "upload_memory 4g; queue 512 timeout=600s; job_deadline 900s;"
SERVER = "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;"


def hour_of(kind, folder):
    """An hour of audio as somebody would send it: a low tone and noise in Opus, or silence in FLAC."""
    path = os.path.join(folder, f"hour.{kind}")
    source = {"opus": "anoisesrc=a=0.05:r=48000:d=3600", "flac": "anullsrc=r=44100:cl=mono:d=3600"}[kind]
    codec = {"opus": ["-c:a", "libopus", "-b:a", "16k"], "flac": []}[kind]
    duration = ["-t", "3600"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *duration, *codec, path], check=True)
    with open(path, "rb") as file:
        return file.read()


class Client:
    """One identity, one connection."""

    def __init__(self, port, address):
        self.port, self.address, self.connection = port, address, None

    def post(self, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        try:
            self.connection.request("POST", "/v1/analyze", body, {"X-Real-IP": self.address})
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except OSError:
            self.connection = None
            return 0


def clips(port, body, seconds, pause_s):
    """Latencies of the others, in ms."""
    out = []

    def run(number):
        client = Client(port, f"192.0.2.{10 + number}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            status = client.post(body)
            assert status == 200, status
            out.append((time.monotonic() - began) * 1e3)
            time.sleep(pause_s)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(OTHERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


class Flood:
    """`count` uploads of one client in flight until the block ends."""

    def __init__(self, port, body, count):
        self.port, self.body, self.count = port, body, count
        self.statuses, self.over = [], threading.Event()

    def _run(self):
        client = Client(self.port, "192.0.2.1")
        while not self.over.is_set():
            self.statuses.append(client.post(self.body))

    def __enter__(self):
        for _ in range(self.count):
            threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name + " ")))


def measure(build, folder, kind, arguments):
    server = Sonogate(os.path.join(folder, kind), build, POOL, server=SERVER)
    try:
        clip = wav(os.path.join(folder, "clip.wav"), 44 + 5 * RATE_HZ * 2)
        with open(clip, "rb") as file:
            body = file.read()
        clips(server.port, body, 2, 0.01)  # warm
        alone = clips(server.port, body, arguments.seconds, 0.02)
        hour = hour_of(kind, folder)
        with Flood(server.port, hour, arguments.files):
            while metric(server.port, "sonogate_queue_depth") < arguments.files * 0.9:
                time.sleep(0.2)
            beside = clips(server.port, body, arguments.seconds, 0.02)
            depth = metric(server.port, "sonogate_queue_depth")
        return len(hour), alone, beside, depth
    finally:
        server.stop()


def figures(latencies):
    p50, p99 = numpy.percentile(latencies, [50, 99])
    return f"{len(latencies)} | {p50:.1f} | {p99:.1f} | {max(latencies):.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    build = os.environ.get("SONOGATE_BUILD", os.path.join(REPOSITORY, "build/release"))
    rows = []
    with tempfile.TemporaryDirectory(prefix="sonogate-bench-") as folder:
        os.chmod(folder, 0o755)
        for kind in ("opus", "flac"):
            size, alone, beside, depth = measure(build, folder, kind, arguments)
            rows.append(f"| {kind}, {size / 1e6:.1f} MB | alone | {figures(alone)} |")
            rows.append(f"| | beside, {depth:.0f} waiting at the end | {figures(beside)} |")
            print("\n".join(rows[-2:]), flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()
    date = datetime.date.today()
    path = os.path.join(REPOSITORY, f"bench/results/{date}-fairness.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""# Fairness, {date}

Commit {commit}; {os.cpu_count()} cores, Linux {platform.release()}; load average {os.getloadavg()[0]:.1f} at the end. {OTHERS} clients send a 5 s clip
(WAV, mono, 441 kB, `/v1/analyze`) each, again and again with a pause of 20 ms, for {arguments.seconds:g} s: alone, and while another client has
{arguments.files} hour-long files in flight. Milliseconds from the request's first byte to the answer's last, at the client; load client and
servers share the cores. A short job is one of at most 25 ms. Made by `scripts/bench fairness`.

| the long files | clips | requests | p50 ms | p99 ms | most ms |
| --- | --- | --- | --- | --- | --- |
""" + "\n".join(rows) + "\n")
    print(path)


if __name__ == "__main__":
    main()
