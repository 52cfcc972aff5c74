"""scripts/demo: see there. Read main() first: it is the demo."""

import argparse
import array
import glob
import json
import math
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(REPOSITORY, "scripts/serving"))

import children  # noqa: E402

PACKAGE = "singularity-music"
INSTALLED = "/usr/share/games/singularity/music"
STATE = os.path.join(REPOSITORY, "build/demo")
MUSIC = os.path.join(REPOSITORY, "build/music")
TRACKS = 12
CLIP_S, CLIP_RATE_HZ, CLIP_SNR_DB, CLIP_SEED = 10.0, 22050, 5.0, 7
ALLOWED_OFFSET_ERROR_S = 0.1


class DemoError(Exception):
    """The demo cannot go on, or got a wrong answer; the text is for people."""


def step(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def run(*argv, **options):
    done = subprocess.run(argv, capture_output=True, check=False, **options)
    if done.returncode:
        raise DemoError(f"{shlex.join(argv)} failed\n{done.stderr.decode(errors='replace').strip()}")
    return done.stdout


# ---- music


def music():
    """Paths of the tracks, from the installed package or unpacked into build/music."""
    folder = INSTALLED if glob.glob(f"{INSTALLED}/*.ogg") else MUSIC + INSTALLED
    if not glob.glob(f"{folder}/*.ogg"):
        download()
    return sorted(glob.glob(f"{folder}/*.ogg"))[:TRACKS]


def download():
    os.makedirs(MUSIC, exist_ok=True)
    print(f"fetching the Debian package {PACKAGE} (52 MB) into {MUSIC}", flush=True)
    try:
        if os.geteuid() == 0 and not run("apt-cache", "policy", PACKAGE).strip():
            run("apt-get", "update", "-qq")
        run("apt-get", "-o", "APT::Sandbox::User=root", "-qq", "download", PACKAGE, cwd=MUSIC)
    except DemoError as error:
        raise DemoError(f"{error}\nInstall it by hand and come again: apt-get update && apt-get install {PACKAGE}") from None
    for package in glob.glob(f"{MUSIC}/{PACKAGE}_*.deb"):
        run("dpkg-deb", "-x", package, MUSIC)
        os.unlink(package)


def title_and_artist(path):
    tags = json.loads(run("ffprobe", "-v", "error", "-show_entries", "stream_tags:format_tags", "-of", "json", path))
    found = {k.lower(): v for part in tags.get("streams", []) + [tags.get("format", {})] for k, v in part.get("tags", {}).items()}
    return found.get("title", os.path.splitext(os.path.basename(path))[0]), found.get("artist", "")


def duration_s(path):
    return float(run("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path))


def make_clip(path, start_s):
    """Ten seconds from start_s, mono, under white noise 5 dB below the music, as a 48 kbit/s MP3."""
    pcm = array.array("h")
    pcm.frombytes(
        run("ffmpeg", "-v", "error", "-ss", f"{start_s}", "-t", f"{CLIP_S}", "-i", path,
            "-ac", "1", "-ar", str(CLIP_RATE_HZ), "-f", "s16le", "-")
    )  # fmt: skip
    rms = math.sqrt(sum(sample * sample for sample in pcm) / len(pcm))
    noise = rms * 10 ** (-CLIP_SNR_DB / 20)
    gauss = random.Random(CLIP_SEED).gauss
    noisy = array.array("h", (max(-32768, min(32767, round(sample + gauss(0, noise)))) for sample in pcm))
    clip = os.path.join(STATE, "clip.mp3")
    run("ffmpeg", "-v", "error", "-y", "-f", "s16le", "-ar", str(CLIP_RATE_HZ), "-ac", "1", "-i", "-",
        "-b:a", "48k", clip, input=noisy.tobytes())  # fmt: skip
    return clip


# ---- the server and curl


class Serving:
    """scripts/serve as a child: up on entry, gone on exit."""

    def __init__(self, port):
        self.argv = [os.path.join(REPOSITORY, "scripts/serve"), "--state", STATE] + (["--port", str(port)] if port else [])

    def __enter__(self):
        parent = os.getpid()
        self.process = subprocess.Popen(
            self.argv, stdout=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: children.die_with_parent(parent),
        )  # fmt: skip
        try:
            for line in self.process.stdout:
                print(line, end="", flush=True)
                match = re.search(r"serving on (\S+?)/ ", line)
                if match:
                    self.url = match[1]
                    return self
            raise DemoError("the server did not start")
        except BaseException:
            self.__exit__()
            raise

    def follow(self):
        """Passes on what the server says, until it ends."""
        for line in self.process.stdout:
            print(line, end="", flush=True)
        return self.process.wait()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.follow()


def curl(*arguments, show=True):
    """Runs curl, shows the command, gives (status, JSON, seconds)."""
    if show:
        print("$ curl " + " ".join(shlex.quote(a.replace(REPOSITORY + "/", "")) for a in arguments), flush=True)
    out = run("curl", "-sS", "-w", "\n%{http_code} %{time_total}", *arguments).decode()
    body, _, figures = out.rpartition("\n")
    status, seconds = figures.split()
    try:
        return int(status), json.loads(body), float(seconds)
    except ValueError:
        raise DemoError(f"status {status}, not JSON: {body[:200]}") from None


def expect(statuses, status, answer):
    if status not in statuses:
        raise DemoError(f"the answer was {status}: {json.dumps(answer)}")


# ---- the three acts


def enrol(url, paths):
    began = time.monotonic()
    total_s = 0.0
    for number, path in enumerate(paths, 1):
        title, artist = title_and_artist(path)
        track_id = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower()
        status, track, seconds = curl(
            "--data-binary", f"@{path}", "--url-query", f"track_id={track_id}", "--url-query", f"title={title}",
            "--url-query", f"artist={artist}", f"{url}/v1/tracks", show=number == 1,
        )  # fmt: skip
        expect((200, 201), status, track)
        total_s += track["duration_s"]
        print(f"  {number:2}/{len(paths)}  {status}  {seconds:5.2f} s  {track['duration_s']:6.1f} s of music"
              f"  {track['hashes']:6} hashes  {track['title']}", flush=True)  # fmt: skip
    took_s = time.monotonic() - began
    print(f"  {total_s / 60:.0f} minutes of music in {took_s:.1f} s ({total_s / took_s:.0f} times faster than it plays)")


def identify(url, clip, title, start_s):
    status, answer, seconds = curl("-F", f"file=@{clip}", f"{url}/v1/identify")
    expect((200,), status, answer)
    if not answer["match"]:
        raise DemoError(f"no match: {answer['reason']}")
    best = answer["matches"][0]
    # Where the clip's first sample lies in the track, by the answer's own rule.
    found_s = best["track_start_s"] - best["query_start_s"] * best["tempo_ratio"]
    rows = [
        ("track", f"{best['title']} by {best['artist']}"),
        ("position", f"{found_s:.3f} s (true: {start_s:.3f} s)"),
        ("confidence", f"{best['confidence']:.6f}"),
        ("false positive", f"p = {best['false_positive_probability']:.2g}"),
        ("aligned", f"{best['aligned_hashes']} of {best['query_hashes']} hashes"),
        ("time", f"{seconds * 1000:.0f} ms at the client; {timing(answer)}"),
    ]
    for name, value in rows:
        print(f"  {name:15} {value}")
    if best["title"] != title or abs(found_s - start_s) > ALLOWED_OFFSET_ERROR_S:
        raise DemoError(f"wrong: the clip is from {title!r} at {start_s:.3f} s")


def analyze(url, path):
    status, answer, seconds = curl("--data-binary", f"@{path}", f"{url}/v1/analyze?peaks=8")
    expect((200,), status, answer)
    audio, levels, spectral = answer["audio"], answer["levels"], answer["spectral"]
    print(f"  {audio['format']} {audio['codec']}, {audio['sample_rate_hz']} Hz, {audio['channels']} channels,"
          f" {audio['duration_s']:.3f} s")  # fmt: skip
    print(f"  peak {levels['peak_dbfs']:.1f} dBFS, rms {levels['rms_dbfs']:.1f} dBFS,"
          f" centroid {spectral['centroid_hz']:.0f} Hz, rolloff {spectral['rolloff_hz']:.0f} Hz")  # fmt: skip
    print("\n  strongest sinusoids\n   frequency Hz   note   cents   amplitude      dB")
    for peak in answer["peaks"]:
        print(f"   {peak['frequency_hz']:12.2f}   {peak['note']:<4} {peak['cents']:+7.1f} {peak['amplitude']:11.5f}"
              f" {peak['magnitude_db']:7.1f}")  # fmt: skip
    print(f"\n  time: {seconds * 1000:.0f} ms at the client; {timing(answer)}")
    if not answer["peaks"]:
        raise DemoError("no sinusoid found in music")


def timing(answer):
    stages = answer.get("timing_ms", {})
    return ", ".join(f"{name.replace('_', ' ')} {value:g} ms" for name, value in stages.items())


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Enrols real music, identifies a noisy clip, analyses a file.")
    parser.add_argument("--once", action="store_true", help="stop after the answers")
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    step("1. Music")
    paths = music()
    print(f"{len(paths)} tracks in {os.path.dirname(paths[0])}")

    step("2. Build and serve")
    for old in glob.glob(f"{STATE}/catalog.db*"):
        os.unlink(old)
    if not os.environ.get("SONOGATE_BUILD"):
        argv = [f"{REPOSITORY}/scripts/build", "release", "sonogated", "ngx_http_sonogate_module"]
        if subprocess.run(argv, check=False).returncode:
            raise DemoError("the build failed")
    with Serving(arguments.port) as server:
        step(f"3. Enrol {len(paths)} tracks")
        enrol(server.url, paths)

        chosen = paths[len(paths) // 2]
        title, _ = title_and_artist(chosen)
        start_s = round(duration_s(chosen) * 0.37, 3)
        step(f"4. Identify {CLIP_S:.0f} s of it, {CLIP_SNR_DB:.0f} dB above white noise, as a 48 kbit/s MP3")
        identify(server.url, make_clip(chosen, start_s), title, start_s)

        step("5. Analyse a file")
        analyze(server.url, chosen)

        if not arguments.once:
            step(f"Still serving on {server.url}/ with these tracks; Ctrl-C ends it. README.md has more to try.")
            server.follow()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoError as failure:
        print(f"\ndemo: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
