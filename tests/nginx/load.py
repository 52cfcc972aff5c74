"""Requests from many threads at once, while something happens to the server."""

import threading
import time

import requests

from contract import assert_job_answer
from sounds import music, noise, tone, wav

FRESH = {"Connection": "close"}  # an idle keep-alive connection may be closed by any server at any time

class Load:
    """`work(i)` is called over and over by each of `threads` until the block ends; what it gives is kept in `done`."""

    def __init__(self, work, threads=8):
        self.work = work
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.done, self.failures = [], []
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]

    def _run(self, number):
        while not self.stopping.is_set():
            try:
                out = self.work(number)
            except BaseException as error:  # noqa: BLE001 - a failed assertion of the work is a failure of the test
                with self.lock:
                    self.failures.append(error)
                return
            with self.lock:
                self.done.append(out)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        deadline = time.monotonic() + 90
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self.threads), "a request was never answered"
        if self.failures:
            raise self.failures[0]


def every_kind(server):
    """Work for a Load in which each request has to be answered: chunked, identified, short, and of the catalog."""
    short, clip, large = wav(tone(440, 0.5)), wav(music(5, 12)), wav(noise(10, 0.3))

    def work(i):
        if i % 4 == 0:
            body = iter([large[k : k + 100_000] for k in range(0, len(large), 100_000)])
            return assert_job_answer(server.post("/v1/analyze?hop=512", data=body, headers=FRESH), "analyze")
        if i % 4 == 1:
            return assert_job_answer(server.post("/v1/identify", data=clip, headers=FRESH), "identify")
        if i % 4 == 2:
            answer = server.get("/v1/tracks", headers=FRESH)
            assert answer.status_code == 200, answer.text
            return answer
        return assert_job_answer(server.post("/v1/analyze", data=short, headers=FRESH), "analyze")

    return work


def all_at_once(work, count):
    """[work(0), …] from as many threads, started together."""
    gate = threading.Barrier(count)
    out = [None] * count

    def run(i):
        gate.wait()
        try:
            out[i] = work(i)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            out[i] = error

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a request was never answered"
    for error in out:
        if isinstance(error, BaseException):
            raise error
    return out


def again_if_reset(send):
    """send(); once more where the connection was lost, as a client does whose nginx worker was killed."""
    for _ in range(5):
        try:
            return send()
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            time.sleep(0.1)
    return send()
