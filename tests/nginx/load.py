"""Requests from many threads at once, while something happens to the server."""

import threading
import time

import requests


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
