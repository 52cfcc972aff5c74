"""What clients of every kind send while things go wrong, and what a right answer to it is.

For: a mix of requests with known answers, sent over HTTP/1.1 and HTTP/2, at once or slowly, and the judgement of what
came back. Not for: what goes wrong (mishaps.py).
"""

import dataclasses
import json
import math
import random
import threading
import time

import requests

import http2
from contract import assert_problem, strict_json
from load import FRESH
from raw_http import RawConnection
from sounds import encode, music, noise, tone, wav

TIMEOUT_S = 60
TRACK, TRACK_SEED, TRACK_S = "the-track", 5, 40
CLIP_START_S, CLIP_S = 12.0, 9.0


@dataclasses.dataclass
class Ask:
    name: str
    path: str
    body: bytes
    statuses: tuple = (200,)  # of a right answer
    answer: dict = None  # the right answer, without what changes from one to the next


def lasting(answer):
    """An answer without what differs between two answers to the same request."""
    return {k: v for k, v in answer.items() if k not in ("request_id", "timing_ms", "cache", "catalog")}


def same(left, right):
    """Equal but for rounding: FFTW may have planned otherwise in another process."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-3, abs_tol=1e-6)
    return left == right


def asks():
    song = music(3, 6)
    short, long_song = wav(song[: 2 * 44100]), wav(noise(12, 0.3))
    clip = music(TRACK_SEED, TRACK_S)[round(CLIP_START_S * 44100) :][: round(CLIP_S * 44100)] + noise(CLIP_S, 0.02)
    out = [Ask(f"analyze {name}", "/v1/analyze", encode(name, short)) for name in ("flac", "mp3-vbr", "ogg-vorbis", "ogg-opus", "m4a", "webm-opus-live")]
    out += [
        Ask("analyze wav", "/v1/analyze?spectrum=mean", short),
        Ask("analyze tone", "/v1/analyze?fft_size=0", wav(tone(440, 0.25))),
        Ask("analyze for long", "/v1/analyze?hop=128", long_song),
        Ask("analyze 10 MB", "/v1/analyze?features=levels", wav(noise(120, 0.2, 4))),  # a memfd of its own
        Ask("fingerprint", "/v1/fingerprint", wav(song)),
        Ask("identify", "/v1/identify", encode("mp3-cbr", wav(clip))),
        Ask("identify unknown", "/v1/identify", wav(music(99, 6))),
        Ask("no audio", "/v1/analyze", b"this is no audio at all" * 40, (415,)),
        Ask("half a flac", "/v1/analyze", encode("flac", short)[:20000]),
        Ask("header alone", "/v1/analyze", encode("flac", short)[:90], (422,)),
        Ask("nothing", "/v1/analyze", b"", (400,)),
    ]
    return out


def right_identify(answer):
    match = answer["matches"][0]
    offset_s = match["track_start_s"] - match["query_start_s"]
    return answer["match"] and match["track_id"] == TRACK and abs(offset_s - CLIP_START_S) < 0.05


def learn(server, mix):
    """Enrols the track and asks everything once in calm: later answers have to be the same."""
    answer = server.post(f"/v1/tracks?track_id={TRACK}", data=wav(music(TRACK_SEED, TRACK_S)))
    assert answer.status_code == 201, answer.text
    for ask in mix:
        answer = server.post(ask.path, data=ask.body)
        assert answer.status_code in ask.statuses, f"{ask.name}: {answer.status_code} {answer.text[:300]}"
        if answer.status_code == 200:
            ask.answer = lasting(strict_json(answer))
            assert ask.name != "identify" or right_identify(ask.answer), ask.answer
            assert ask.name != "identify unknown" or not ask.answer["match"], ask.answer
            assert ask.name != "analyze tone" or abs(ask.answer["peaks"][0]["frequency_hz"] - 440) < 0.1, ask.answer


class Wrong(AssertionError):
    """An answer that is against the contract, or none."""


# What may be answered instead of a right answer, and which mishap must have happened for it; None: any, as each may
# make others wait. These are all that the contract allows under death.
EXCUSES = {
    (422, "quarantined"): ("crashing audio",),  # whoever's file the busiest worker had
    (429, "rate-limited"): ("crashing audio",),  # the crash budget: all of these clients are one identity
    (502, "worker-crashed"): ("kill worker", "crashing audio"),
    (503, "overloaded"): None,
    (503, "backend-unavailable"): None,
    (503, "draining"): ("restart daemon",),
    (504, "deadline-exceeded"): None,
    (507, "insufficient-storage"): ("disk full",),
}


class Clients:
    """`count` threads that send until stopped. `mishaps` tells what happened when."""

    def __init__(self, server, mix, mishaps, seed, count=12):
        self.server, self.mix, self.mishaps = server, mix, mishaps
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.counts, self.wrong, self.acknowledged = {}, [], []
        self.enrolments = [wav(music(200 + i, 4)) for i in range(4)]
        self.threads = [threading.Thread(target=self._run, args=(random.Random(f"{seed}/{i}"), i), daemon=True) for i in range(count)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        deadline = time.monotonic() + 2 * TIMEOUT_S
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self.threads), "a request was never answered"

    def _run(self, chance, number):
        serial = 0
        while not self.stopping.is_set():
            serial += 1
            kind = chance.choices((self.ask, self.enrol, self.read, self.slowly, self.vanish), (10, 2, 2, 1, 1))[0]
            began = time.monotonic()
            try:
                outcome = kind(chance, f"{number}-{serial}", began)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                outcome = "WRONG"
                said = f"{began - self.mishaps.began:.2f}..{time.monotonic() - self.mishaps.began:.2f} s, {kind.__name__}: {error!r}"
                with self.lock:
                    self.wrong.append(f"{said[:600]}; after {self.mishaps.around(began)}")
            with self.lock:
                self.counts[outcome] = self.counts.get(outcome, 0) + 1
            if outcome not in (200, 201):
                time.sleep(0.05)

    # ---- judgement

    def judge(self, ask, answer, began):
        """The status, where the answer is right or excused; raises Wrong otherwise."""
        status = answer.status_code
        if status in ask.statuses:
            if ask.answer is None:
                if status >= 400:
                    assert_problem(answer, status)
                return status
            got = lasting(strict_json(answer))
            right = right_identify(got) if ask.name == "identify" else same(got, ask.answer)
            if not right:
                raise Wrong(f"{ask.name}: not what it was in calm: {json.dumps(got)[:400]}")
            return status
        problem = assert_problem(answer, status)
        kind = problem["type"].removeprefix("/problems/")
        if (status, kind) not in EXCUSES:
            raise Wrong(f"{ask.name}: {status} {kind}")
        causes = EXCUSES[status, kind]
        if causes and not any(self.mishaps.happened(cause, began) for cause in causes):
            raise Wrong(f"{ask.name}: {status} {kind} without {causes}")
        return f"{status} {kind}"

    def lost_with_nginx(self, began):
        """Only a worker of nginx that was killed may take its clients' connections with it."""
        return self.mishaps.happened("kill nginx worker", began)

    def again(self, send, began):
        """send(), and once more where a killed nginx worker took the connection."""
        while True:
            try:
                return send()
            except OSError as error:
                if not self.lost_with_nginx(began) or isinstance(error, (requests.Timeout, TimeoutError)):
                    raise Wrong(f"no answer: {error!r}") from error
                time.sleep(0.05)
                began = time.monotonic()

    # ---- kinds of clients

    def ask(self, chance, _, began):
        ask = chance.choice(self.mix)
        way = chance.choice((self.plain, self.chunked, self.multipart, self.http2))
        return self.judge(ask, self.again(lambda: way(ask), began), began)

    def plain(self, ask):
        return requests.post(self.server.base + ask.path, data=ask.body, headers=FRESH, timeout=TIMEOUT_S)

    def chunked(self, ask):
        pieces = iter([ask.body[i : i + 70_000] for i in range(0, len(ask.body), 70_000)])
        return requests.post(self.server.base + ask.path, data=pieces, headers=FRESH, timeout=TIMEOUT_S)

    def multipart(self, ask):
        if not ask.body:
            return self.plain(ask)
        return requests.post(self.server.base + ask.path, files={"file": ("a/../b.wav", ask.body)}, headers=FRESH, timeout=TIMEOUT_S)

    def http2(self, ask):
        return as_response(http2.post(self.server.h2_port, ask.path, ask.body, TIMEOUT_S))

    def enrol(self, chance, name, began):
        ask = Ask("enrol", f"/v1/tracks?track_id=chaos-{name}", chance.choice(self.enrolments), (200, 201))
        outcome = self.judge(ask, self.again(lambda: self.plain(ask), began), began)
        if outcome in (200, 201):
            with self.lock:
                self.acknowledged.append(f"chaos-{name}")
        return outcome

    def read(self, chance, _, began):
        with self.lock:
            track = chance.choice(self.acknowledged or [TRACK])
        answer = self.again(lambda: requests.get(f"{self.server.base}/v1/tracks/{track}", headers=FRESH, timeout=TIMEOUT_S), began)
        return self.judge(Ask(f"read {track}", "", b""), answer, began)

    def slowly(self, chance, _, began):
        ask = next(ask for ask in self.mix if ask.name == "analyze wav")

        def send():
            with RawConnection(self.server.port, TIMEOUT_S) as raw:
                raw.head(ask.path, Content_Length=len(ask.body), Connection="close")
                for start in range(0, len(ask.body), len(ask.body) // 8 + 1):
                    raw.send(ask.body[start : start + len(ask.body) // 8 + 1])
                    time.sleep(chance.uniform(0.05, 0.4))
                return as_response(raw.answer())

        return self.judge(ask, self.again(send, began), began)

    def vanish(self, chance, _, began):
        ask = chance.choice([ask for ask in self.mix if len(ask.body) > 50_000])
        try:
            raw = RawConnection(self.server.port, TIMEOUT_S)
            raw.head(ask.path, Content_Length=len(ask.body))
            raw.send(ask.body[: chance.randrange(len(ask.body))])
            time.sleep(chance.uniform(0, 0.1))
            raw.reset()
        except OSError:  # refused early, or cut
            pass
        return "left"


def as_response(raw):
    """A RawAnswer in the form that the contract's assertions read."""
    out = requests.Response()
    out.status_code, out._content = raw.status_code, raw.content  # noqa: SLF001 - requests has no public way
    out.headers.update({name.title(): value for name, value in raw.headers.items()})
    return out
