"""Many uploads at once: each gets its own answer."""

import hashlib

import pytest

from contract import assert_job_answer
from load import all_at_once
from sounds import tone, wav

SECONDS = [0.05, 0.3, 0.7, 3, 12, 60, 100]  # 4 kB to 9 MB: inside and outside of tickets and warm slabs


def test_64_uploads_at_once_on_two_nginx_workers(server):
    files = [wav(tone(300 + 37 * i, SECONDS[i % len(SECONDS)], 0.5)) for i in range(64)]

    def one(i):
        body = iter([files[i][k : k + 50_000] for k in range(0, len(files[i]), 50_000)]) if i % 3 == 0 else files[i]
        return assert_job_answer(server.post("/v1/analyze?peaks=1", data=body), "analyze")

    for i, out in enumerate(all_at_once(one, 64)):
        assert out["audio"]["sha256"] == hashlib.sha256(files[i]).hexdigest()
        assert out["peaks"][0]["frequency_hz"] == pytest.approx(300 + 37 * i, abs=0.1)
    assert len(server.pids("nginx: worker")) == 2


def test_short_jobs_do_not_wait_for_long_ones(server):
    long_file, short_file = wav(tone(440, 120)), wav(tone(440, 0.5))

    def one(i):
        if i < 6:
            return assert_job_answer(server.post("/v1/analyze?hop=512", data=long_file), "analyze")
        return assert_job_answer(server.post("/v1/analyze?features=levels&peaks=0", data=short_file), "analyze")

    answers = all_at_once(one, 16)
    longest = min(a["timing_ms"]["total"] for a in answers[:6])
    assert max(a["timing_ms"]["total"] for a in answers[6:]) < longest


def test_a_full_queue_is_overloaded_not_endless(serve):
    server = serve(pool="workers 1; queue 2 timeout=2s;")
    file = wav(tone(440, 60))
    answers = all_at_once(lambda _: server.post("/v1/analyze?hop=64&fft_size=16384", data=file), 24)
    statuses = {a.status_code for a in answers}
    assert statuses <= {200, 503} and 200 in statuses and 503 in statuses, statuses
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["type"] == "/problems/overloaded"
            assert int(answer.headers["Retry-After"]) >= 1
    assert_job_answer(server.post("/v1/analyze", data=wav(tone())), "analyze")
