#!/usr/bin/python3
"""What identification costs, and what a large catalog takes from it.

    bench/identify.py [--music FOLDER] [--tracks 100,10000] [--clips N]

Music: FOLDER, or Debian's singularity-music. Nine of ten of its tracks (at most 100) are enrolled, the others are what
clips of unknown music are cut from. Catalogs are filled up to their size with variations of the real tracks
(varied_tracks.hpp): transposed by 2 to 4 semitones and run 9 to 15 % faster or slower, so that no clip matches one, with
posting lists as long as those of real music: the two are held against each other, and told.

Up to 10,000 tracks the whole service is measured over HTTP, through nginx, decoder and store: the store is filled by SQL, the
daemon makes its index, is started again, and asked. Above, the index alone, in one process without a store. CPU is user
and system time of all processes; a clip is 5 s, 16-bit WAV. Writes bench/results/DATE-identify.md.
"""

import argparse
import datetime
import glob
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import requests

from servers import REPOSITORY, Sonogate, cpu_seconds
from processes import descendants

sys.path.append(os.path.join(REPOSITORY, "scripts"))

import demonstration  # noqa: E402

BUILD = os.environ.get("SONOGATE_BUILD", os.path.join(REPOSITORY, "build/release"))
TOOL = os.path.join(BUILD, "bench/bench_identify")
RATE_HZ, CLIP_RATE_HZ, CLIP_S, SEED = 8000, 44100, 5, 7
MOST_REAL, MOST_WHOLE, ENROLLED, MORE = 100, 10_000, 8, 12
SOUNDS = (".ogg", ".opus", ".mp3", ".flac", ".wav", ".m4a")
CODECS = {"MP3 128 kbit/s": ("mp3", ["-b:a", "128k"]), "Ogg Vorbis q4": ("ogg", ["-c:a", "libvorbis", "-q:a", "4"]), "FLAC": ("flac", [])}
KINDS = ("clean", "MP3 32 kbit/s", "white noise 0 dB", "speed +3 %", "pitch -1 semitone", "unknown")
MOST_APART = 1.5
READY_S = 1800  # to make the index of the largest catalog
WRITABLE = "location /v1/tracks { sonogate_pass main; sonogate_max_body 100m; sonogate_max_audio 1h; sonogate_catalog write open; }"


def run(*argv, **options):
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, **options)
    return done.stdout


def ffmpeg(*words, **options):
    return run("ffmpeg", "-nostdin", "-v", "error", "-threads", "1", *map(str, words), **options)


def tool(*words):
    """Its lines, as lists of words."""
    return [line.split() for line in run(TOOL, *map(str, words), text=True).splitlines()]


def named(lines):
    return {line[0]: float(line[1]) for line in lines if len(line) == 2}


def percentile(values, share):
    ascending = sorted(values)
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


# ---- music and clips


class Music:
    """Real tracks as 8 kHz PCM (what bench_identify reads), and clips of them."""

    def __init__(self, source, folder, clips):
        self.folder = folder
        paths = [p for p in sorted(glob.glob(f"{source}/**/*", recursive=True)) if p.endswith(SOUNDS) and 45 < self.seconds(p) < 900]
        if len(paths) < 10:
            raise SystemExit(f"identify: fewer than ten tracks of 45 s to 15 minutes in {source}")
        step = max(1, len(paths) // (MOST_REAL * 10 // 9))  # from all folders alike
        paths = paths[::step][: MOST_REAL * 10 // 9]
        self.unknown, self.files = paths[::10], [p for i, p in enumerate(paths) if i % 10]
        self.pcm = [self.decoded(i, path) for i, path in enumerate(self.files)]
        self.clips = list(self.make_clips(clips))  # (kind, number from 1 or 0, WAV, PCM)

    @staticmethod
    def seconds(path):
        if os.path.getsize(path) < 100_000:
            return 0
        said = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path], capture_output=True, check=False)
        return float(said.stdout or 0) if said.stdout.strip() != b"N/A" else 0

    def decoded(self, number, path):
        out = f"{self.folder}/track{number}.f32"
        ffmpeg("-i", path, "-map", "0:a:0", "-ac", 1, "-ar", RATE_HZ, "-f", "f32le", "-y", out)
        return out

    def make_clips(self, count):
        random = np.random.default_rng(SEED)
        for kind in KINDS:
            sources = self.unknown if kind == "unknown" else self.files
            for i in range(count):
                which = i * len(sources) // count if count <= len(sources) else i % len(sources)
                at_s = random.uniform(5, self.seconds(sources[which]) - 3 * CLIP_S)
                stem = f"{self.folder}/{kind.partition(' ')[0]}{i}"
                self.make_clip(kind, sources[which], at_s, stem, random)
                ffmpeg("-i", stem + ".wav", "-ar", RATE_HZ, "-f", "f32le", "-y", stem + ".f32")
                yield kind, 0 if kind == "unknown" else which + 1, stem + ".wav", stem + ".f32"

    @staticmethod
    def make_clip(kind, source, at_s, stem, random):
        filters = {"speed +3 %": f"asetrate={round(CLIP_RATE_HZ * 1.03)},aresample={CLIP_RATE_HZ}",
                   "pitch -1 semitone": f"asetrate={round(CLIP_RATE_HZ * 2 ** (-1 / 12))},aresample={CLIP_RATE_HZ},atempo={2 ** (1 / 12):.6f}"}  # fmt: skip
        raw = ["-f", "f32le", "-ar", CLIP_RATE_HZ, "-ac", 1]
        sound = ffmpeg("-ss", f"{at_s:.3f}", "-t", CLIP_S * 1.2, "-i", source, "-map", "0:a:0", "-ac", 1, "-ar", CLIP_RATE_HZ, *raw, "-")
        (samples := np.frombuffer(sound, np.float32).copy()).resize(int(CLIP_RATE_HZ * CLIP_S * 1.2))
        if kind.startswith("white"):
            samples += random.standard_normal(len(samples)).astype(np.float32) * np.sqrt(np.mean(samples**2))
        with open(stem + ".raw", "wb") as file:
            file.write(samples.tobytes())
        if kind.startswith("MP3"):
            ffmpeg(*raw, "-i", stem + ".raw", "-b:a", "32k", "-y", stem + ".mp3")
        given = [stem + ".mp3"] if kind.startswith("MP3") else raw + ["-i", stem + ".raw"]
        given = ["-i", *given] if kind.startswith("MP3") else given
        ffmpeg(*given, "-af", filters.get(kind, "anull"), "-t", CLIP_S, "-ac", 1, "-ar", CLIP_RATE_HZ, "-c:a", "pcm_s16le", "-y", stem + ".wav")


# ---- the service


class Service(Sonogate):
    def __init__(self, folder):
        begin = time.monotonic()
        super().__init__(folder, BUILD, server=WRITABLE)
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = requests.Session()
        while self.session.get(self.url + "/ready", timeout=60).status_code != 200:
            if time.monotonic() - begin > READY_S:
                self.stop()
                raise RuntimeError(f"not ready after {READY_S} s; see {folder}/state/logs")
            time.sleep(0.02)
        self.start_s = time.monotonic() - begin

    def librarian(self):
        for pid in (pid for root in self.roots for pid in descendants(root.pid)):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if file.read().startswith(b"sonogated: librarian"):
                    return pid
        raise RuntimeError("no librarian")

    def librarian_mb(self):
        """What is its own, and with the mapped files that are in memory."""
        with open(f"/proc/{self.librarian()}/smaps_rollup", encoding="ascii") as file:
            kb = {line.split(":")[0]: int(line.split()[1]) for line in file if line.split(":")[0] in ("Rss", "Anonymous")}
        return kb["Anonymous"] / 1024, kb["Rss"] / 1024

    def ask(self, wav):
        with open(wav, "rb") as file:
            body = file.read()
        begin = time.monotonic()
        answer = self.session.post(self.url + "/v1/identify", data=body, headers={"Content-Type": "audio/wav"}, timeout=120)
        answer.raise_for_status()
        return (time.monotonic() - begin) * 1e3, [m["track_id"] for m in answer.json()["matches"]]


def kinds_of(figures):
    """figures: kind -> list of (right, wrong, cpu_ms, wall_ms); rows of the report."""
    for kind, all_of_it in figures.items():
        right, wrong, cpu, wall = zip(*all_of_it)
        yield (kind, f"{100 * sum(right) / len(right):.0f}", str(sum(wrong)), f"{statistics.fmean(cpu):.1f}", f"{percentile(wall, 0.5):.1f}", f"{percentile(wall, 0.99):.1f}")


def ask_service(service, clips):
    figures = {}
    service.ask(clips[0][2])
    for kind, number, wav, _ in clips:
        before = service.cpu_seconds()
        wall_ms, ids = service.ask(wav)
        cpu_ms = (service.cpu_seconds() - before) * 1e3
        right = ids[:1] == ([f"t{number}"] if number else [])
        figures.setdefault(kind, []).append((right, bool(ids) and not right, cpu_ms, wall_ms))
    return figures


def enrol_while_asking(service, music):
    """Milliseconds of a clean query while tracks are enrolled, and of an enrolment meanwhile."""
    asked, enrolled, ended = [], [], threading.Event()
    clean = [clip for clip in music.clips if clip[0] == "clean"]

    def enrol():
        session = requests.Session()
        for path in music.unknown[:MORE]:
            with open(path, "rb") as file:
                body = file.read()
            begin = time.monotonic()
            answer = session.post(service.url + "/v1/tracks", data=body, headers={"Content-Type": "application/octet-stream"}, timeout=120)
            answer.raise_for_status()
            enrolled.append((time.monotonic() - begin) * 1e3)
        ended.set()

    thread = threading.Thread(target=enrol)
    thread.start()
    while not ended.is_set() and thread.is_alive():
        asked.append(service.ask(clean[len(asked) % len(clean)][2])[0])
    thread.join()
    return asked, enrolled


def folder_bytes(path):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)


def whole(folder, music, count):
    state = os.path.join(folder, "state")
    os.makedirs(state)
    audio_h = named(tool("store", os.path.join(state, "catalog.db"), count, *music.pcm))["audio_s"] / 3600
    out = {"tracks": count, "audio_h": audio_h}
    service = Service(folder)
    out["make_s"], out["make_cpu_s"] = service.start_s, cpu_seconds(service.librarian())
    service.stop()
    service = Service(folder)
    try:
        out["start_s"] = service.start_s
        out["kinds"] = list(kinds_of(ask_service(service, music.clips)))
        out["own_mb"], out["rss_mb"] = service.librarian_mb()
        asked, enrolled = enrol_while_asking(service, music)
        out["while"] = (percentile(asked, 0.5), percentile(asked, 0.99), percentile(enrolled, 0.5), max(enrolled))
    finally:
        service.stop()
    out["store_mb_h"] = os.path.getsize(os.path.join(state, "catalog.db")) / audio_h / 1e6
    out["index_mb_h"] = folder_bytes(os.path.join(state, "catalog.db-index")) / audio_h / 1e6
    return out


def alone(folder, music, count):
    clips = os.path.join(folder, "clips.tsv")
    with open(clips, "w", encoding="ascii") as file:
        for kind, number, _, pcm in music.clips:
            file.write(f"{KINDS.index(kind)} {number} {pcm}\n")
    made = named(tool("index", os.path.join(folder, "index"), count, os.devnull, *music.pcm))
    lines = tool("index", os.path.join(folder, "index"), count, clips, *music.pcm)
    out = {"tracks": count} | made | {k: v for k, v in named(lines).items() if not k.startswith("added")}
    figures = {}
    for _, kind, verdict, cpu_us, wall_us, *_ in (line for line in lines if line[0] == "clip"):
        figures.setdefault(KINDS[int(kind)], []).append((verdict == "right", verdict == "wrong", float(cpu_us) / 1e3, float(wall_us) / 1e3))
    return out | {"kinds": list(kinds_of(figures))}


# ---- single figures


def children_cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def enrolment(folder, music):
    """Rows: codec, minutes, × real time of enrolling (server and client), of fpcalc."""
    service = Service(folder)
    try:
        for codec, (suffix, options) in CODECS.items():
            library = os.path.join(folder, suffix)
            os.makedirs(library)
            files = [f"{library}/{i}.{suffix}" for i in range(min(ENROLLED, len(music.files)))]
            for path, source in zip(files, music.files):
                ffmpeg("-i", source, "-map", "0:a:0", "-ar", 44100, *options, "-y", path)
            audio_s = sum(music.seconds(path) for path in files)
            before = children_cpu_s()
            for path in files:
                subprocess.run(["fpcalc", "-length", "0", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # 1.5.1 ends with 3 after a right answer
            theirs = children_cpu_s() - before
            before, before_server = children_cpu_s(), service.cpu_seconds()
            run(os.path.join(BUILD, "sonogated"), "enrol", "--url", service.url, library, stderr=subprocess.DEVNULL)
            ours = children_cpu_s() - before + service.cpu_seconds() - before_server
            yield codec, audio_s / 60, audio_s / ours, audio_s / theirs
    finally:
        service.stop()


def hold_against(lists):
    """Variations that are not as crowded as real tracks would tell too low a cost."""
    for _, share, real, varied in (line for line in lists if line[0] == "length"):
        if not 1 / MOST_APART < (int(varied) + 1) / (int(real) + 1) < MOST_APART:
            raise SystemExit(f"identify: of posting lists {share} are at most {real} long with real tracks, {varied} with variations")


# ---- the report


def table(head, rows):
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows])


def report(arguments, music, speed, enrolled, lists, catalogs):
    commit = run("git", "rev-parse", "--short", "HEAD", cwd=REPOSITORY, text=True).strip()
    rates = next(line for line in lists if line[0] == "per_s")
    lengths = [line for line in lists if line[0] == "length"]
    queries = [(f"{c['tracks']:,}", *row) for c in catalogs for row in c["kinds"]]
    wholes = [c for c in catalogs if "make_s" in c]
    parts = [
        f"""# Identification, {datetime.date.today()}

Commit {commit}; {os.cpu_count()} cores, Linux {platform.release()}. {len(music.files)} real tracks in each catalog, the rest variations of them; {arguments.clips} clips of 5 s a kind.
Client and servers share the cores{', which others use as well' if os.getloadavg()[2] > 1.5 else ''}. Made by `scripts/bench identify{' --music CORPUS' if arguments.music else ''} --tracks {arguments.tracks} --clips {arguments.clips}`;
how is told at the head of `bench/identify.py`.

Fingerprint of a track from PCM (8 kHz): {speed['audio_s'] / speed['cpu_s']:,.0f} × real time.
""",
        table(["enrolment, CPU of daemon, nginx and client", "minutes", "× real time", "fpcalc", "share"],
              [(codec, f"{m:.0f}", f"{ours:.0f}", f"{theirs:.0f}", f"{ours / theirs:.2f}") for codec, m, ours, theirs in enrolled]),
        "\nPosting lists of the real tracks and of as many variations, by the list that a posting is in:\n",
        table(["", "hashes a second", *(f"{100 * float(line[1]):g} %" for line in lengths)],
              [("real", rates[1], *(line[2] for line in lengths)), ("variations", rates[2], *(line[3] for line in lengths))]),
        "\nClips. Up to 10,000 tracks: the whole request over HTTP, of all processes; above: fingerprint not counted, the search alone.\n",
        table(["tracks", "clips", "right, %", "wrong track", "CPU, ms", "p50, ms", "p99, ms"], queries),
    ]  # fmt: skip
    if wholes:
        parts += [
            "\nThe service. First start: the index is made from the store; start: its files are mapped. To /ready, nginx included. While enrolling: clean clips\n"
            f"asked while {min(MORE, len(music.unknown))} tracks are enrolled one after the other, and those.\n",
            table(["tracks", "hours", "store, MB/h", "index, MB/h", "first start, s (CPU)", "start, s", "librarian's memory, MB (with files)",
                   "asked while enrolling, p50, p99, ms", "enrolled meanwhile, p50, max, ms"],
                  [(f"{c['tracks']:,}", f"{c['audio_h']:.0f}", f"{c['store_mb_h']:.2f}", f"{c['index_mb_h']:.2f}", f"{c['make_s']:.1f} ({c['make_cpu_s']:.0f})",
                    f"{c['start_s']:.1f}", f"{c['own_mb']:.0f} ({c['rss_mb']:.0f})", f"{c['while'][0]:.0f}, {c['while'][1]:.0f}", f"{c['while'][2]:.0f}, {c['while'][3]:.0f}")
                   for c in wholes]),
        ]  # fmt: skip
    for c in (c for c in catalogs if "open_s" in c):
        parts.append(
            f"\nThe index alone at {c['tracks']:,} tracks: {c['hashes'] / 1e6:,.0f} million hashes, {c['files']:.0f} files of {c['file_mb'] / 1e3:.1f} GB; opened and checked in\n"
            f"{c['open_s']:.1f} s ({c['open_cpu_s']:.1f} of CPU); {c['heap_mb']:.0f} MB of heap."
        )
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--music", help="folder of tracks, searched to its bottom")
    parser.add_argument("--tracks", default="100,10000", help="sizes of catalogs")
    parser.add_argument("--clips", type=int, default=20, help="of each kind")
    arguments = parser.parse_args()
    if not arguments.music:
        demonstration.music()  # fetches it
    with tempfile.TemporaryDirectory(prefix="sonogate-bench-") as folder:
        os.chmod(folder, 0o755)
        source = arguments.music or (demonstration.INSTALLED if glob.glob(f"{demonstration.INSTALLED}/*.ogg") else demonstration.MUSIC)
        music = Music(source, folder, arguments.clips)
        print(f"{len(music.files)} tracks, {len(music.unknown)} held out, {len(music.clips)} clips", flush=True)
        speed = named(tool("fingerprint", *music.pcm))
        enrolled = list(enrolment(os.path.join(folder, "enrolment"), music))
        print(speed, enrolled, flush=True)
        lists = tool("lists", *music.pcm)
        path = os.path.join(REPOSITORY, f"bench/results/{datetime.date.today()}-identify.md")
        hold_against(lists)
        catalogs = []
        for count in map(int, arguments.tracks.split(",")):
            here = os.path.join(folder, str(count))
            os.makedirs(here)
            catalogs.append((whole if count <= MOST_WHOLE else alone)(here, music, count))
            print(json.dumps(catalogs[-1]), flush=True)
            with open(path, "w", encoding="utf-8") as file:  # the next one may take half an hour
                file.write(report(arguments, music, speed, enrolled, lists, catalogs))
    with open(path, encoding="utf-8") as file:
        print(file.read() + path)


if __name__ == "__main__":
    main()
