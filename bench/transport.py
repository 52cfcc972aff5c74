#!/usr/bin/python3
"""What moving an upload costs: sonogate (a), proxy_pass to a minimal server (b), proxy_pass to Flask (c), and the minimal
server alone (f): the floor, which no gate in front of a backend can be below.

In one run, in interleaved rounds: requests a second and CPU time a request (user and system time of every server
process, from /proc). Transport is that minus the job's own CPU time: for (a) measured by bench_job, which runs the same
operation on the same bytes in one process; (b) and (f) do no job. Writes bench/results/DATE-transport.md.
"""

import argparse
import datetime
import json
import os
import statistics
import struct
import subprocess
import tempfile
import time

import numpy
import requests

from servers import REPOSITORY, Bare, Flask, Proxied, Sonogate

CHEAPEST = {"features": "levels", "peaks": "0", "spectrum": "none"}
CASES = [(4 << 10, 1), (4 << 10, 16), (64 << 10, 16), (1 << 20, 16), (5 << 20, 16)]
AIMS = {(4 << 10, 1): 1.1, (4 << 10, 16): 0.65, (64 << 10, 16): 0.9, (1 << 20, 16): 0.5, (5 << 20, 16): 0.45}
MINUTE_AIM = 9.0
FLASK_ROUNDS = 2  # its requests at 5 MiB take a second of CPU each, and one round fills ten


def wav(path, size):
    """A 16-bit mono WAV of just `size` bytes: a tone with a little noise (seed 1)."""
    frames = (size - 44) // 2
    noise = numpy.random.default_rng(1).normal(0, 300, frames)
    samples = (8000 * numpy.sin(2 * numpy.pi * 440 / 44100 * numpy.arange(frames)) + noise).astype("<i2").tobytes()
    head = b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 44100, 88200, 2, 16)
    with open(path, "wb") as file:
        file.write(head + b"data" + struct.pack("<I", len(samples)) + samples)
    return path


def target(parameters):
    return "/v1/analyze" + ("?" + "&".join(f"{k}={v}" for k, v in parameters.items()) if parameters else "")


class Bench:
    def __init__(self, build, folder, rounds, seconds):
        self.build, self.folder, self.rounds, self.seconds = build, folder, rounds, seconds
        self.servers = {"a": Sonogate(os.path.join(folder, "a"), build)}
        first = self.first_answer(wav(os.path.join(folder, "probe.wav"), 4096))
        self.servers["b"] = Proxied(os.path.join(folder, "b"), build, len(first))
        self.servers["f"] = Bare(os.path.join(folder, "f"), build, len(first))
        self.servers["c"] = Flask(os.path.join(folder, "c"))

    def first_answer(self, body):
        """(b) answers as many bytes as (a) does."""
        for _ in range(100):
            with open(body, "rb") as file:
                answer = requests.post(f"http://127.0.0.1:{self.servers['a'].port}{target(CHEAPEST)}", data=file, timeout=30)
            if answer.status_code == 200:
                return answer.content
            time.sleep(0.1)
        raise RuntimeError(f"sonogate answers {answer.status_code}: {answer.text}")

    def once(self, name, body, path, connections):
        server = self.servers[name]
        before = server.cpu_seconds()
        out = subprocess.run(
            [os.path.join(self.build, "bench/bench_load"), str(server.port), path, body, str(connections), str(self.seconds)],
            check=True, capture_output=True, text=True,
        )
        spent = server.cpu_seconds() - before
        load = json.loads(out.stdout)
        if name != "c" and (load["errors"] or not load["requests"]):  # (c) may run into its own time limits
            raise RuntimeError(f"({name}) {path}: {load}")
        return {
            "per_s": load["requests"] / load["seconds"], "cpu_us": 1e6 * spent / max(load["requests"], 1),
            "p50_us": load["p50_us"], "p99_us": load["p99_us"],
        }

    def case(self, body, path, connections):
        """{server: [a figure of each round]}, the servers taking turns."""
        out = {name: [] for name in self.servers}
        for turn in range(self.rounds):
            for name in self.servers if turn < FLASK_ROUNDS else ("a", "b", "f"):
                out[name].append(self.once(name, body, path, connections))
        return out

    def job_us(self, body, parameters):
        argv = [os.path.join(self.build, "bench/bench_job"), body, "0.5"] + [f"{k}={v}" for k, v in parameters.items()]
        runs = [float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout) for _ in range(3)]
        return statistics.median(runs)

    def stop(self):
        for server in self.servers.values():
            server.stop()


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def spread(rounds, key, digits=0):
    values = [r[key] for r in rounds]
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def size_text(size):
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def measure(bench):
    rows, summary = [], []
    for size, connections in CASES:
        body = wav(os.path.join(bench.folder, f"{size}.wav"), size)
        job_us = bench.job_us(body, CHEAPEST)
        figures = bench.case(body, target(CHEAPEST), connections)
        a_us = median(figures["a"], "cpu_us") - job_us
        b_us, f_us = median(figures["b"], "cpu_us"), median(figures["f"], "cpu_us")
        for name in "abfc":
            own = {"a": f"{a_us:.0f}", "b": f"{b_us:.0f}", "f": f"{f_us:.0f}"}.get(name, "")
            rows.append(
                f"| {size_text(size)} × {connections} | {name} | {spread(figures[name], 'per_s')} |"
                f" {spread(figures[name], 'cpu_us')} | {own} | {spread(figures[name], 'p50_us')} | {spread(figures[name], 'p99_us')} |"
            )
        aim = AIMS[size, connections]
        summary.append(f"| {size_text(size)} × {connections} | {job_us:.1f} | {a_us:.0f} | {b_us:.0f} | {f_us:.0f} |"
                       f" **{a_us / b_us:.2f}** | {aim} | {f_us / b_us:.2f} |")
        print(summary[-1], flush=True)
    return rows, summary


def measure_minute(bench):
    """A default analyze of 60 s against Flask's FFT of the whole."""
    body = wav(os.path.join(bench.folder, "minute.wav"), 44 + 60 * 44100 * 2)
    figures = bench.case(body, target({}), 2)
    a_us, c_us = median(figures["a"], "cpu_us"), median(figures["c"], "cpu_us")
    line = (
        f"An analyze of 60 s of WAV with default parameters, 2 connections: (a) {spread(figures['a'], 'cpu_us')} µs of CPU,"
        f" (c) {spread(figures['c'], 'cpu_us')} µs: **{c_us / a_us:.1f} times** cheaper (aim {MINUTE_AIM:g})."
    )
    print(line, flush=True)
    return line


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((l.split(":")[1].strip() for l in file if l.startswith("model name")), "unknown CPU")
    commit = subprocess.run(["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    dirty = subprocess.run(["git", "-C", REPOSITORY, "status", "--porcelain"], capture_output=True, text=True, check=True)
    return f"{model}, {os.cpu_count()} cores, Linux {os.uname().release}", commit.stdout.strip() + (" and changes" if dirty.stdout else "")


def report(bench, rows, summary, minute):
    cpu, commit = machine()
    date = datetime.date.today().isoformat()
    path = os.path.join(REPOSITORY, f"bench/results/{date}-transport.md")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    text = f"""# Transport, {date}

Commit {commit}; {cpu}. {bench.rounds} interleaved rounds of {bench.seconds:g} s ((c): {FLASK_ROUNDS}); median (least–most). Load client and
servers share the cores, over the loopback. Made by `scripts/bench`.

- (a) sonogate, `{target(CHEAPEST)}` of a WAV of that size;
- (b) nginx `proxy_pass`, bodies buffered in memory, keep-alive unix socket, to `bench/echo_server.cpp`;
- (f) `bench/echo_server.cpp` alone, on a TCP port: the kernel's part, below which no gate can be;
- (c) nginx `proxy_pass` at its defaults to gunicorn and Flask with scipy's FFT.

CPU is user and system time of all server processes a request. Transport is that minus the job's own, which
`bench/job.cpp` measures in one process on the same bytes; (b) and (f) have no job.

| body × connections | job µs | (a) transport µs | (b) µs | (f) µs | (a)/(b) | aim, at most | (f)/(b) |
| --- | --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(summary)}

{minute}

| body × connections | | requests/s | CPU µs | transport µs | p50 µs | p99 µs |
| --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}
"""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"written to {os.path.relpath(path, REPOSITORY)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round")
    arguments = parser.parse_args()
    build = os.path.abspath(os.environ.get("SONOGATE_BUILD", os.path.join(REPOSITORY, "build/release")))
    with tempfile.TemporaryDirectory(prefix="sonogate-bench-") as folder:
        os.chmod(folder, 0o755)
        bench = Bench(build, folder, arguments.rounds, arguments.seconds)
        try:
            rows, summary = measure(bench)
            report(bench, rows, summary, measure_minute(bench))
        finally:
            bench.stop()


if __name__ == "__main__":
    main()
