"""nginx -s reload while jobs are on their way: every one is answered."""

import os
import time

import pytest

from contract import assert_job_answer
from load import FRESH, Load
from raw_http import RawConnection
from served import wait_until
from sounds import noise, tone, wav, wav_of_size



def test_every_request_is_answered_through_reloads(serve):
    server = serve(location="sonogate_max_body 64m;")
    short, long_file = wav(tone(440, 0.5)), wav(noise(20, 0.3))

    def work(i):
        if i % 2:
            return assert_job_answer(server.post("/v1/analyze", data=short, headers=FRESH), "analyze")
        body = iter([long_file[k : k + 200_000] for k in range(0, len(long_file), 200_000)]) if i % 4 else long_file
        return assert_job_answer(server.post("/v1/analyze?hop=256", data=body, headers=FRESH), "analyze")

    with Load(work, 6) as load:
        for _ in range(6):
            before = set(server.pids("nginx: worker"))
            server.reload()
            wait_until(lambda b=before: set(server.pids("nginx: worker")) - b, 20)
            time.sleep(0.4)
    assert len(load.done) > 20


@pytest.mark.parametrize("sent", [0.1, 1.0])
def test_an_upload_that_began_before_a_reload_is_finished_after_it(serve, sent):
    server = serve()
    file = wav_of_size(900_000)
    with RawConnection(server.port) as raw:
        raw.head("/v1/analyze?fft_size=16384&hop=32", Content_Length=len(file))
        raw.send(file[: int(sent * len(file))])
        old = set(server.pids("nginx: worker"))
        server.reload()
        wait_until(lambda: len(set(server.pids("nginx: worker")) - old) == 2)
        raw.send(file[int(sent * len(file)) :])
        assert raw.answer().status_code == 200
    wait_until(lambda: not old & set(server.pids("nginx: worker")))


def test_idle_workers_leave_at_once(serve):
    server = serve()
    assert_job_answer(server.post("/v1/analyze", data=wav(tone())), "analyze")
    old = set(server.pids("nginx: worker"))
    server.reload()
    wait_until(lambda: not old & set(server.pids("nginx: worker")), 5)


def test_settings_of_the_pool_and_the_location_change_with_it(serve):
    server = serve(location="sonogate_max_body 1m;", pool="workers 1;")
    file = wav_of_size(2 << 20)
    assert server.post("/v1/analyze", data=file).status_code == 413
    server.change_conf(location="sonogate_max_body 8m;", pool="workers 3;")
    server.reload()
    wait_until(lambda: server.post("/v1/analyze?features=levels", data=file, headers=FRESH).status_code == 200)
    # One more class of as many workers is for long jobs.
    wait_until(lambda: len(server.pids("sonogated: worker")) >= 3)


def test_descriptors_do_not_grow_with_reloads(serve):
    server = serve()
    counts = []
    for _ in range(6):
        old = set(server.pids("nginx: worker"))
        server.reload()
        wait_until(lambda o=old: not o & set(server.pids("nginx: worker")))
        assert_job_answer(server.post("/v1/analyze", data=wav(tone())), "analyze")
        (broker,) = server.pids("sonogated: broker")
        counts.append(len(os.listdir(f"/proc/{broker}/fd")))
    # A worker's slabs come with its first upload, and which worker gets it is chance.
    assert max(counts[3:]) <= max(counts[:3]) + 2, counts
