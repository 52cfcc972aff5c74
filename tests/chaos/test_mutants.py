"""Broken files of every format through the real service: each answer is of the contract, and no worker dies unnoticed."""

import random
import threading

import numpy
import requests

from contract import assert_job_answer, assert_problem
from metrics import scrape
from sounds import ENCODERS, encode, music, wav

PATHS = ("/v1/analyze", "/v1/analyze?fft_size=0", "/v1/fingerprint", "/v1/fingerprint?algorithm=chromaprint", "/v1/identify")
REFUSALS = {
    400: ("missing-audio",),
    413: ("audio-too-long", "body-too-large"),
    415: ("unsupported-format",),
    422: ("undecodable", "too-short", "silent", "job-too-large"),
}


def mutate(chance, file, others):
    """The file with one to four things wrong: bits, bytes, cuts, repeats, lies in numbers, pieces of another file."""
    out = bytearray(file)
    for _ in range(chance.randint(1, 4)):
        # Headers are where most decisions are made: half of what goes wrong happens there.
        at = chance.randrange(min(len(out), 600) if chance.random() < 0.5 else len(out))
        size = chance.choice((1, 2, 4, 8, 64, 1024))
        what = chance.randrange(8)
        if what == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            out[at : at + size] = chance.randbytes(size)
        elif what == 2:
            out[at : at + 4] = chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\x01\0\0\0"))
        elif what == 3:
            del out[at : at + size]
        elif what == 4:
            del out[max(at, 1) :]
        elif what == 5:
            out[at:at] = out[at : at + size] * chance.randint(1, 20)
        elif what == 6:
            other = chance.choice(others)
            start = chance.randrange(len(other))
            out[at : at + size] = other[start : start + size]
        else:
            out[at : at + size] = b"\0" * size
        if not out:
            out = bytearray(file[:1])
    return bytes(out)


def assert_contract(answer, path):
    if answer.status_code == 200:
        assert_job_answer(answer, path.split("?")[0].removeprefix("/v1/"))
    else:
        assert answer.status_code in REFUSALS, f"{answer.status_code} {answer.text[:300]}"
        assert_problem(answer, answer.status_code, REFUSALS[answer.status_code])


def test_mutants_of_every_format(served_in, request, tmp_path):
    count = request.config.getoption("--mutants")
    server = served_in(pool="workers 2; job_memory 256m; job_deadline 60s;", location="sonogate_max_body 64m; sonogate_max_audio 1h;")
    server.start()
    song = music(7, 3)
    stereo = wav(numpy.stack([song, song[::-1]], axis=1))
    files = [stereo, wav(song, bits=24), *(encode(name, stereo) for name in ENCODERS)]
    failures, statuses, lock = [], {}, threading.Lock()
    seed = request.config.getoption("--chaos-seed") or random.randrange(1 << 30)
    print(f"seed {seed}")

    def send(number):
        with requests.Session() as session:
            for i in range(number, count, 4):
                chance = random.Random(f"{seed}/{i}")
                body, path = mutate(chance, files[i % len(files)], files), chance.choice(PATHS)
                try:
                    answer = session.post(server.base + path, data=body, timeout=120)
                    assert_contract(answer, path)
                    with lock:
                        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                except Exception as error:  # noqa: BLE001 - each is a finding, and the file is what it takes to repeat it
                    kept = tmp_path / f"mutant-{i}"
                    kept.write_bytes(body)
                    with lock:
                        failures.append(f"{path} {kept}: {error!r}"[:500])

    threads = [threading.Thread(target=send, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deaths = scrape(server)[0]["sonogate_worker_deaths_total"]
    print(f"{count} mutants of {len(files)} files: {statuses}, {deaths:.0f} deaths of workers")
    assert not failures, f"seed {seed}: {len(failures)} of {count}:\n" + "\n".join(failures[:10])
    assert deaths == 0
