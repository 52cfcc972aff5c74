"""Memory does not follow the length of audio, nor the number of requests."""

import os
import resource
import subprocess

from contract import assert_job_answer, assert_problem
from load import all_at_once
from metrics import scrape
from served import wait_until
from sounds import noise, tone, wav, wav_of_size

MIB = 1 << 20


def high_water(pid):
    """Private and shared memory a process had at most, without what it maps of uploads: anonymous pages."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["RssAnon"].split()[0]) * 1024


def memfds(pid):
    return sum("memfd:" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))


def test_an_hour_of_wav_needs_no_hour_of_memory(serve):
    server = serve(pool="job_memory 128m;", location="sonogate_max_body 512m;")
    minute = noise(60, 0.3, rate_hz=16000)
    head_and_minute = wav(minute, 16000)
    hour = wav_header(60 * len(minute), 16000) + head_and_minute[44:] * 60  # 115 MB of file, 230 MB as floats
    assert_job_answer(server.post("/v1/analyze", data=head_and_minute), "analyze")
    before = {pid: high_water(pid) for pid in server.pids("sonogated: worker")}
    out = assert_job_answer(server.post("/v1/analyze", data=hour), "analyze")
    assert round(out["audio"]["duration_s"]) == 3600
    after = {pid: high_water(pid) for pid in server.pids("sonogated: worker")}
    assert set(after) == set(before)
    for pid, bytes_after in after.items():
        assert bytes_after - before[pid] < 24 * MIB, f"{bytes_after - before[pid]} bytes more"


def wav_header(frames, rate_hz):
    whole = wav([], rate_hz)
    size = 2 * frames
    return whole[:4] + (36 + size).to_bytes(4, "little") + whole[8:40] + size.to_bytes(4, "little")


def test_descriptors_and_segments_do_not_grow_with_requests(serve):
    server = serve(location="sonogate_max_body 64m;")

    def burst():
        def one(i):
            size = (1000, 70_000, MIB, 10 * MIB)[i % 4]
            return assert_job_answer(server.post("/v1/analyze?features=levels&peaks=0", data=wav_of_size(size)), "analyze")

        all_at_once(one, 16)
        server.post("/v1/analyze?spectrum=mean&fft_size=1048576", data=wav(tone(440, 25)))

    def counts():
        roles = ("nginx: worker", "sonogated: broker", "sonogated: worker", "sonogated: librarian")
        return {role: sum(memfds(pid) for pid in server.pids(role)) for role in roles}

    for _ in range(4):
        burst()
    before = counts()
    for _ in range(6):
        burst()
    after = counts()
    for role, count in after.items():
        # Warm slabs are made as uploads overlap, which chance decides; a leak would be one a request.
        assert count <= before[role] + 8, (before, after)


def test_memory_of_a_process_does_not_grow_with_requests(serve):
    server = serve(pool="workers 1;")
    file = wav(tone(440, 5))

    def run(times):
        for _ in range(times):
            server.post("/v1/analyze?spectrum=mean", data=file)
        return sum(high_water(pid) for pid in server.pids("sonogated") + server.pids("nginx: worker"))

    run(150)
    before = run(150)
    assert run(300) - before < 6 * MIB


def test_a_job_over_its_memory_is_422_and_its_worker_goes_on(serve):
    """The kernel's bound (RLIMIT_DATA), met at every size: no allocation that fails may end the worker."""
    server = serve(pool="workers 1;", location="sonogate_max_body 64m;")
    workers = server.pids("sonogated: worker")
    file = wav(noise(8, 0.3))
    nested = b'{"audio":"", "other":[' + b"[]," * 500_000 + b"0]}"
    requests = {
        "/v1/analyze?fft_size=262144&spectrum=mean": {"data": file},
        "/v1/analyze?fft_size=0": {"data": file},
        "/v1/fingerprint": {"data": file},
        "/v1/analyze": {"data": nested, "headers": {"Content-Type": "application/json"}},
    }

    def statuses():
        return [server.post(path, **arguments).status_code for path, arguments in requests.items()]

    def bound(extra_bytes):
        for worker in workers:
            with open(f"/proc/{worker}/statm", encoding="ascii") as statm:
                data_bytes = int(statm.read().split()[5]) * resource.getpagesize()
            # A worker of root's daemon is nobody's, and only its like may do this.
            as_its_like = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
            subprocess.run([*as_its_like, "prlimit", f"--pid={worker}", f"--data={data_bytes + extra_bytes}:"], check=True)

    assert_job_answer(server.post("/v1/analyze", data=file), "analyze")
    seen = set()
    for extra_bytes in [*range(0, 4 * MIB, 256 << 10), 6 * MIB, 8 * MIB, 12 * MIB, 16 * MIB, 24 * MIB]:
        bound(extra_bytes)
        for path, arguments in requests.items():
            answer = server.post(path, **arguments)
            seen.add(answer.status_code)
            if answer.status_code == 422:
                assert_problem(answer, 422, "job-too-large")
            else:
                assert answer.status_code == (400 if "headers" in arguments else 200), answer.text
    assert {200, 422} <= seen, seen
    bound(256 * MIB)
    assert statuses() == [200, 200, 200, 400]
    assert server.pids("sonogated: worker") == workers


def test_what_large_jobs_leave_behind_crashes_no_worker_and_refuses_no_job(serve):
    """What an allocator keeps of freed memory counts as data: each job is answered as by a new worker."""
    location = "sonogate_max_body 64m; sonogate_cache off;"
    old = serve(pool="workers 1; job_memory 128m;", location=location)
    new = serve(pool="workers 1; job_memory 128m; worker_jobs 1;", location=location)
    wait_until(lambda: len(old.pids("sonogated: worker")) == 2)
    workers = old.pids("sonogated: worker")
    seen = set()
    for samples in (2_571_414, 3_003_806, 1_621_656, 3_452_962, 1_717_488):
        answers = [server.post("/v1/analyze?fft_size=0", data=wav_of_size(44 + 2 * samples)) for server in (old, new)]
        statuses = {answer.status_code for answer in answers}
        assert len(statuses) == 1, (samples, [answer.text[:200] for answer in answers])
        seen |= statuses
    assert seen == {200, 422}
    assert old.pids("sonogated: worker") == workers
    for server in (old, new):
        assert scrape(server)[0]["sonogate_worker_deaths_total"] == 0
