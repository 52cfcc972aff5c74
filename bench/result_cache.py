#!/usr/bin/python3
"""What a hit in the result cache costs beside computing the answer, and what the cache costs where it is off.

The same upload again and again, to a server without a result_cache and to one with; with --against BUILD also to that of
another build without one, to tell whether this one is dearer. Interleaved rounds; CPU is user and system time of all
server processes a request. Writes bench/results/DATE-result-cache.md.
"""

import argparse
import datetime
import os
import platform
import subprocess
import tempfile

from servers import REPOSITORY, Sonogate
from transport import CHEAPEST, Bench, median, size_text, spread, target, wav

CASES = [(4 << 10, 16, CHEAPEST), (4 << 10, 16, {}), (60 << 10, 16, {}), (1 << 20, 16, {}), (44 + 60 * 44100 * 2, 4, {})]
CACHE = "result_cache 64m;"


class CacheBench(Bench):
    def __init__(self, build, against, folder, rounds, seconds):  # pylint: disable=super-init-not-called
        self.build, self.folder, self.rounds, self.seconds = build, folder, rounds, seconds
        self.servers = {}
        for name, of, pool in (("hit", build, CACHE), ("off", build, ""), ("before", against, "")):
            if of:
                self.servers[name] = Sonogate(os.path.join(folder, name), of, pool)

    def case(self, body, path, connections):
        out = {name: [] for name in self.servers}
        for name in self.servers:
            self.once(name, body, path, connections)  # warm: slabs, plans, and the one miss
        for _ in range(self.rounds):
            for name in self.servers:
                out[name].append(self.once(name, body, path, connections))
        return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", help="build folder of another version")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    build = os.environ.get("SONOGATE_BUILD", os.path.join(REPOSITORY, "build/release"))
    rows = []
    with tempfile.TemporaryDirectory(prefix="sonogate-bench-") as folder:
        os.chmod(folder, 0o755)
        bench = CacheBench(build, arguments.against, folder, arguments.rounds, arguments.seconds)
        try:
            for size, connections, parameters in CASES:
                body = wav(os.path.join(folder, "body.wav"), size)
                figures = bench.case(body, target(parameters), connections)
                hit_us = median(figures["hit"], "cpu_us")
                for name, rounds in figures.items():
                    rows.append(
                        f"| {size_text(size)} × {connections}{', cheapest' if parameters else ''} | {name} | {spread(rounds, 'per_s')} |"
                        f" {spread(rounds, 'cpu_us')} | {median(rounds, 'cpu_us') / hit_us:.1f} | {spread(rounds, 'p50_us')} |"
                    )
                    print(rows[-1], flush=True)
        finally:
            bench.stop()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()
    date = datetime.date.today()
    path = os.path.join(REPOSITORY, f"bench/results/{date}-result-cache.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""# Result cache, {date}

Commit {commit}; {os.cpu_count()} cores, Linux {platform.release()}. {arguments.rounds} interleaved rounds of {arguments.seconds:g} s; median (least–most). Load client and
servers share the cores. `/v1/analyze` with default parameters (`cheapest`: levels alone) of one WAV, again and again: answered from the cache (hit),
computed (off){", computed by another build (before)" if arguments.against else ""}. Made by `scripts/bench result_cache`.

| body × connections | | requests/s | CPU µs | by a hit's | p50 µs |
| --- | --- | --- | --- | --- | --- |
""" + "\n".join(rows) + "\n")
    print(path)


if __name__ == "__main__":
    main()
