"""What one job may use: processor time, channels, the size of its answer, disk; and what it leaves behind."""

import os
import subprocess

import numpy
import pytest

from contract import assert_job_answer, assert_problem
from metrics import scrape
from raw_http import RawConnection
from served import Served, places, reachable_folder, wait_until
from sounds import noise, tone, wav, wav_of_size
from test_storage import SmallDisk

MIB = 1 << 20
PATHS = ["/v1/analyze", "/v1/identify", "/v1/fingerprint", "/v1/tracks"]


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["RssAnon"].split()[0]) * 1024


# ---- processor time


def test_a_job_over_its_processor_time_is_422_and_its_worker_goes_on(serve):
    server = serve(pool="workers 1; job_cpu 300ms;", location="sonogate_max_body 64m;")
    workers = server.pids("sonogated: worker")
    problem = assert_problem(server.post("/v1/analyze?fft_size=65536&hop=32", data=wav(noise(300, 0.3, rate_hz=16000), 16000)), 422, "job-too-large")
    assert problem["limit"] == 300
    assert problem["value"] >= 300
    assert_job_answer(server.post("/v1/analyze", data=wav(tone())), "analyze")
    assert server.pids("sonogated: worker") == workers


def test_a_worker_that_asks_nobody_is_ended_for_it_and_its_job_not_tried_again(serve):
    """One transform of 53 million points takes seconds, and looks at nothing meanwhile."""
    server = serve(pool="workers 1; job_cpu 1s; job_memory 4g;", location="sonogate_max_body 256m;")
    workers = server.pids("sonogated: worker")
    retries = scrape(server)[0]["sonogate_retries_total"]
    problem = assert_problem(server.post("/v1/analyze?fft_size=0", data=wav(noise(20 * 60, 0.3))), 422, "job-too-large")
    assert problem["limit"] == 1000
    wait_until(lambda: len(set(server.pids("sonogated: worker")) - set(workers)) == 1)
    assert scrape(server)[0]["sonogate_retries_total"] == retries
    assert_job_answer(server.post("/v1/analyze", data=wav(tone())), "analyze")
    assert "is over its processor time" in server.daemon_log()


# ---- channels, answers


def channels(count):
    return wav(numpy.tile(tone(440, 2)[:, None], (1, count)))


@pytest.fixture(scope="module")
def bounded(tmp_path_factory):
    server = Served(
        reachable_folder(tmp_path_factory, "bounded"),
        pool="job_result 64k;",
        server="sonogate_max_body 64m;",
        location=places(two="sonogate_max_channels 2;", any="sonogate_max_channels off;"),
    )
    yield server.start()
    server.stop()


@pytest.mark.parametrize("path", PATHS)
def test_more_channels_than_are_let_in_are_422(bounded, path):
    problem = assert_problem(bounded.post(path, data=channels(65)), 422, "job-too-large")
    assert (problem["limit"], problem["value"]) == (64, 65)
    assert (problem := assert_problem(bounded.post("/two" + path, data=channels(3)), 422, "job-too-large"))["limit"] == 2, problem
    assert bounded.post("/two" + path + "?start_s=0", data=channels(2)).status_code in (200, 201)


def test_as_many_channels_as_are_let_in_are_analysed(bounded):
    assert assert_job_answer(bounded.post("/v1/analyze", data=channels(64)), "analyze")["audio"]["channels"] == 64
    assert assert_job_answer(bounded.post("/any/v1/analyze", data=channels(255)), "analyze")["audio"]["channels"] == 255


def test_an_answer_beyond_its_size_is_422(bounded):
    file = wav(noise(2, 0.3))
    problem = assert_problem(bounded.post("/v1/analyze?spectrum=mean&fft_size=65536", data=file), 422, "job-too-large")
    assert problem["limit"] == 64 << 10
    assert problem["value"] > 64 << 10
    assert_job_answer(bounded.post("/v1/analyze?spectrum=mean&fft_size=1024", data=file), "analyze")


# ---- disk


@pytest.fixture
def small_disk(tmp_path_factory):
    server = Served(reachable_folder(tmp_path_factory, "disk"), pool="disk_reserve 2m;", location="sonogate_max_body 8m;")
    disk = SmallDisk(server.state)
    try:
        yield server, disk
    finally:
        server.stop()
        disk.close()


def leave(server, free_bytes):
    """Fills the disk but for so much."""
    disk = os.statvfs(server.state)
    used = disk.f_bavail * disk.f_frsize - free_bytes
    subprocess.run(["fallocate", "-l", str(used), os.path.join(server.state, "filler")], check=True)


def test_an_enrolment_needs_twice_its_size_on_the_disk(small_disk):
    server, disk = small_disk
    server.start()
    leave(server, 7 * MIB)  # of which five may be used
    with RawConnection(server.port) as raw:
        raw.head("/v1/tracks", Content_Length=3 * MIB, Expect="100-continue")
        answer = raw.answer()
        assert answer.status_code == 507, "the body was asked for"
        assert answer.json()["type"] == "/problems/insufficient-storage"
    assert server.post("/v1/tracks", data=iter([wav_of_size(MIB)])).status_code == 507  # it could become 8 MiB
    assert server.post("/v1/tracks", data=wav_of_size(2 * MIB)).status_code == 201
    assert_job_answer(server.post("/v1/analyze", data=wav_of_size(4 * MIB)), "analyze")  # stores nothing
    disk.free(server)
    assert server.post("/v1/tracks", data=wav_of_size(3 * MIB, seed=2)).status_code == 201
    leave(server, MIB)
    assert_problem(server.post("/v1/tracks", data=wav_of_size(50_000)), 507, "insufficient-storage")  # without a ticket
    (track, *_) = server.get("/v1/tracks").json()["tracks"]
    assert server.request("PATCH", f"/v1/tracks/{track['track_id']}", json={"title": "x"}).status_code == 507
    assert server.request("DELETE", f"/v1/tracks/{track['track_id']}").status_code == 204, "what makes room is let in"


# ---- memory


def test_memory_of_a_large_job_is_told_and_given_back(serve):
    server = serve(pool="workers 1;", location="sonogate_max_body 64m;")
    large, small = wav(noise(60, 0.3)), wav(noise(1, 0.3))
    for _ in range(3):  # either worker has its plans and buffers
        assert_job_answer(server.post("/v1/analyze", data=small), "analyze")
        assert_job_answer(server.post("/v1/analyze?hop=64", data=large), "analyze")
    before = {pid: resident(pid) for pid in server.pids("sonogated: worker")}

    def told(bound):
        return scrape(server)[0][f'sonogate_job_memory_bytes_bucket{{le="{bound}"}}']

    all_before, large_before = told("+Inf"), told("+Inf") - told("16777216")
    # The whole signal, its spectrum and the answer: 2.6 million points.
    assert_job_answer(server.post("/v1/analyze?fft_size=0", data=large), "analyze")
    assert told("+Inf") == all_before + 1
    assert told("+Inf") - told("16777216") == large_before + 1
    after = {pid: resident(pid) for pid in server.pids("sonogated: worker")}
    assert set(after) == set(before)
    for pid, bytes_after in after.items():
        assert bytes_after - before[pid] < 8 * MIB, f"{bytes_after - before[pid]} bytes kept"
