#!/usr/bin/python3
"""What many connections cost: 10,000 that are idle, then 1,000 uploads that trickle in, and what others notice of them.

    bench/connections.py [--idle N] [--slow N]

In three steps, on one server: nothing, idle keep-alive connections, slow uploads beside them. At each the memory of nginx
and the daemon (PSS, so that shared pages count once) and the latency of small requests on one more connection. In the end
each slow upload is finished, and has its answer.
"""

import argparse
import array
import datetime
import http.client
import math
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time

from servers import REPOSITORY, Sonogate
from processes import descendants

BUILD = os.environ.get("SONOGATE_BUILD", os.path.join(REPOSITORY, "build/release"))
UPLOAD_BYTES, FIRST_BYTES, PIECE_BYTES = 400_000, 20_000, 2_000
REQUESTS = 3000


def wav(size):
    """A 16-bit mono WAV of `size` bytes: a tone of 440 Hz."""
    frames = (size - 44) // 2
    samples = array.array("h", (round(8000 * math.sin(2 * math.pi * 440 * i / 44100)) for i in range(frames))).tobytes()
    return b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 44100, 88200, 2, 16) + b"data" + struct.pack("<I", len(samples)) + samples  # fmt: skip


def memory_bytes(server):
    """PSS of nginx and of the daemon, all processes of each together."""
    sums = {"nginx": 0, "sonogated": 0}
    for pid in descendants(server.roots[0].pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                name = file.read().split(b":")[0].decode(errors="replace")
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                pss = next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        if name in sums:
            sums[name] += pss
    return sums


def latencies_ms(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    out = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("POST", "/v1/analyze?fft_size=256&features=levels", body)
        answer = connection.getresponse()
        answer.read()
        out.append((time.perf_counter() - began) * 1e3)
        if answer.status != 200:
            raise SystemExit(f"connections: status {answer.status} for a small request")
    connection.close()
    out.sort()
    return out[len(out) // 2], out[len(out) * 99 // 100]


def idle_connection(port):
    """One keep-alive connection that has had an answer."""
    wire = socket.create_connection(("127.0.0.1", port), 60)
    wire.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    answer_of(wire)
    return wire


def slow_upload(port, body):
    wire = socket.create_connection(("127.0.0.1", port), 60)
    wire.sendall(b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:FIRST_BYTES])
    return wire


def answer_of(wire):
    data = b""
    while b"\r\n\r\n" not in data:
        part = wire.recv(65536)
        if not part:
            raise SystemExit("connections: a connection was closed without an answer")
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    missing = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")) - len(rest)
    while missing > 0:
        missing -= len(wire.recv(65536))
    return int(head.split()[1])


def measure(server, name, small, rows):
    p50, p99 = latencies_ms(server.port, small)
    rows.append((name, memory_bytes(server), p50, p99))
    print(f"{name}: {rows[-1][1]}, p50 {p50:.2f} ms, p99 {p99:.2f} ms", file=sys.stderr)


def run(server, idle_count, slow_count):
    small, large, rows = wav(4096), wav(UPLOAD_BYTES), []
    latencies_ms(server.port, small)  # warm
    measure(server, "nobody else", small, rows)
    idle = [idle_connection(server.port) for _ in range(idle_count)]
    measure(server, f"{idle_count} idle connections", small, rows)
    slow = [slow_upload(server.port, large) for _ in range(slow_count)]
    sent = FIRST_BYTES
    for _ in range(3):
        for wire in slow:
            wire.sendall(large[sent : sent + PIECE_BYTES])
        sent += PIECE_BYTES
        time.sleep(0.5)
    measure(server, f"and {slow_count} slow uploads", small, rows)
    for wire in slow:
        wire.sendall(large[sent:])
    statuses = [answer_of(wire) for wire in slow]
    for wire in idle + slow:
        wire.close()
    if set(statuses) != {200}:
        raise SystemExit(f"connections: slow uploads ended in { {s: statuses.count(s) for s in set(statuses)} }")
    return rows


def report(rows, idle_count, slow_count):
    counts = [1, idle_count, slow_count]
    lines = []
    for i, (name, memory, p50, p99) in enumerate(rows):
        each = " / ".join(f"{(memory[part] - rows[i - 1][1][part]) / counts[i] / 1024:.1f}" if i else "-" for part in ("nginx", "sonogated"))
        lines.append(f"| {name} | {memory['nginx'] / 2**20:.1f} | {memory['sonogated'] / 2**20:.1f} | {each} | {p50:.2f} | {p99:.2f} |")
    commit = subprocess.run(["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    today = datetime.date.today().isoformat()
    text = "\n".join([
        f"# Connections, {today}", "",
        f"Commit {commit}. Made by `scripts/bench connections`; latency of {REQUESTS} small requests one after the other. A slow",
        f"upload has sent {(FIRST_BYTES + 3 * PIECE_BYTES) // 1000} of {UPLOAD_BYTES // 1000} kB. All of them got their answer in the end.", "",
        "| beside | nginx, MiB | daemon, MiB | KiB for each more: nginx / daemon | p50, ms | p99, ms |", "| --- | --- | --- | --- | --- | --- |", *lines, ""])  # fmt: skip
    print(text)
    with open(os.path.join(REPOSITORY, f"bench/results/{today}-connections.md"), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=1_000)
    options = parser.parse_args()
    wanted = options.idle + options.slow + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        # All slow uploads end at once: each is to wait for a worker, not to be told to come back.
        server = Sonogate(folder, BUILD, f"queue {options.slow + 64} timeout=60s;", connections=wanted)
        try:
            rows = run(server, options.idle, options.slow)
        finally:
            server.stop()
    report(rows, options.idle, options.slow)


if __name__ == "__main__":
    main()
