"""kill -9 of every part, under load: each request ends in an answer of the contract, and the next ones succeed."""

import os
import random
import re
import signal
import time

import pytest
import requests

from contract import assert_answer_or_death, assert_job_answer, assert_problem
from load import Load, again_if_reset
from served import is_running, wait_until
from sounds import music, noise, tone, wav

SHORT, LONG = wav(tone(440, 0.5)), wav(noise(15, 0.3))
CLIP = wav(music(5, 12))


@pytest.fixture
def server(serve):
    # The same few files all the time: where chance kills both workers of one job, test_quarantine has what follows.
    return serve(pool="quarantine off;", location="sonogate_max_body 64m;")


def mixed_work(server, lost_is_fine=False):
    def work(i):
        if i % 4 == 0:
            kind, send = "analyze", lambda: server.post("/v1/analyze?hop=128", data=LONG, headers={"Connection": "close"})
        elif i % 4 == 1:
            kind, send = "identify", lambda: server.post("/v1/identify", data=CLIP, headers={"Connection": "close"})
        else:
            kind, send = "analyze", lambda: server.post("/v1/analyze", data=SHORT, headers={"Connection": "close"})
        answer = again_if_reset(send) if lost_is_fine else send()
        status = assert_answer_or_death(answer, kind)
        if status != 200:
            time.sleep(0.1)
        return status

    return work


def assert_serves_again(server):
    wait_until(lambda: server.post("/v1/analyze", data=SHORT).status_code == 200, 30, 0.2)
    for _ in range(10):
        assert_job_answer(server.post("/v1/analyze", data=SHORT), "analyze")
    assert_job_answer(server.post("/v1/identify", data=CLIP), "identify")


def kill_under_load(server, role, times, pause_s, lost_is_fine=False):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed = []
    with Load(mixed_work(server, lost_is_fine), 8) as load:
        for _ in range(times):
            time.sleep(pause_s * chance.uniform(0.3, 1.5))
            pids = server.pids(role)
            if pids:
                killed.append(chance.choice(pids))
                try:
                    server.kill(killed[-1])
                except ProcessLookupError:
                    pass
        time.sleep(pause_s)
    assert_serves_again(server)
    assert len(killed) >= times // 2
    wait_until(lambda: not any(is_running(pid) for pid in killed))
    print(f"{len(load.done)} answers: { {s: load.done.count(s) for s in set(load.done)} }")
    return load.done


def test_workers_are_killed(server):
    wanted = len(server.pids("sonogated: worker"))
    done = kill_under_load(server, "sonogated: worker", 20, 0.2)
    # A job is tried once more on another worker, so a death is seldom seen at all.
    assert done.count(200) > 0.8 * len(done), done
    wait_until(lambda: len(server.pids("sonogated: worker")) == wanted)


def test_a_job_that_loses_both_its_workers_is_502(serve):
    server = serve(pool="workers 1;", location="sonogate_max_body 64m;")
    stopping = []

    def work(_):
        answer = server.post("/v1/analyze?fft_size=16384&hop=16", data=LONG)
        stopping.append(answer)
        return answer.status_code

    with Load(work, 1):
        deadline = time.monotonic() + 30
        while not stopping and time.monotonic() < deadline:
            time.sleep(0.15)
            for pid in server.pids("sonogated: worker"):
                os.kill(pid, signal.SIGKILL)
    assert assert_answer_or_death(stopping[0], "analyze") == 502
    assert_serves_again(server)


def test_the_librarian_is_killed(server):
    done = kill_under_load(server, "sonogated: librarian", 6, 0.6)
    assert done.count(200) > 0.5 * len(done)


def test_a_librarian_that_faults_again_and_again_waits_longer_and_longer(server):
    for _ in range(4):
        (librarian,) = wait_until(lambda: server.is_ready() and server.pids("sonogated: librarian"))
        server.kill(librarian, signal.SIGSEGV)
        wait_until(lambda pid=librarian: not is_running(pid))
        wait_until(server.is_ready)
    pauses = [int(ms) for ms in re.findall(r"librarian starts again in (\d+) ms", server.daemon_log())]
    assert pauses == [100, 200, 400], pauses
    assert_serves_again(server)


def test_the_zygote_is_killed(server):
    kill_under_load(server, "sonogated: zygote", 3, 0.8)


def test_the_broker_is_killed(server):
    below = server.pids("sonogated: worker") + server.pids("sonogated: librarian") + server.pids("sonogated: zygote")
    kill_under_load(server, "sonogated: broker", 4, 1.0)
    wait_until(lambda: not any(is_running(pid) for pid in below))


def test_a_job_in_flight_survives_its_broker(serve):
    server = serve(location="sonogate_max_body 64m;")
    answers = []

    def work(_):
        answers.append(server.post("/v1/analyze?hop=64&fft_size=8192", data=LONG))

    with Load(work, 1):
        time.sleep(0.15)
        (broker,) = server.pids("sonogated: broker")
        server.kill(broker)
        wait_until(lambda: answers, 60)
    assert_job_answer(answers[0], "analyze")


def test_nginx_workers_are_killed(server):
    done = kill_under_load(server, "nginx: worker", 6, 0.6, lost_is_fine=True)
    assert done.count(200) > 0.9 * len(done), done


def test_everything_is_killed_by_turns(server):
    roles = ["sonogated: worker", "sonogated: librarian", "nginx: worker", "sonogated: broker", "sonogated: worker", "nginx: worker"]
    with Load(mixed_work(server, lost_is_fine=True), 8):
        for role in roles * 2:
            time.sleep(0.4)
            for pid in server.pids(role)[:1]:
                server.kill(pid)
    assert_serves_again(server)


def test_nothing_grows_with_deaths(server):
    def count():
        (broker,) = server.pids("sonogated: broker")
        return len(os.listdir(f"/proc/{broker}/fd"))

    def kill_all_workers():
        old = server.pids("sonogated: worker")
        for pid in old:
            server.kill(pid)
        wait_until(lambda: len(server.pids("sonogated: worker")) == len(old) and not set(old) & set(server.pids("sonogated: worker")))
        assert_job_answer(server.post("/v1/analyze", data=SHORT), "analyze")

    kill_all_workers()
    before = count()
    for _ in range(5):
        kill_all_workers()
    wait_until(lambda: count() <= before + 2)


def test_a_stopped_broker_ends_in_the_contracts_words(serve):
    """SIGSTOP is what a livelock looks like from outside."""
    server = serve(pool="job_deadline 2s; queue 8 timeout=1s;")
    (broker,) = server.pids("sonogated: broker")
    os.kill(broker, signal.SIGSTOP)
    try:
        answer = server.post("/v1/analyze", data=SHORT, timeout=30)
        assert answer.status_code in (503, 504), answer.text
        assert server.get("/health").status_code == 200
        # Once its silence is known, who comes is refused at the door: who waited would be told of its deadline.
        wait_until(lambda: server.get("/ready").json()["parts"]["link"]["state"] == "hung")
        for body in (SHORT, LONG):
            assert_problem(server.post("/v1/analyze", data=body, headers={"Connection": "close"}), 503, "backend-unavailable")
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_until(lambda: server.post("/v1/analyze", data=SHORT).status_code == 200, 20, 0.2)
    wait_until(server.is_ready)
    # It missed everybody while it stood still itself, which is no reason to kill anybody.
    assert "sonogate_silent_children_total 0\n" in server.get("/metrics").text


def stand_still(server, role):
    """SIGSTOP to all processes of that role; they are killed by whoever misses them."""
    pids = server.pids(role)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def test_workers_that_stand_still_cost_a_retry_at_most(serve):
    server = serve(pool="workers 1;", location="sonogate_max_body 64m;")
    wait_until(lambda: len(server.pids("sonogated: worker")) == 2)  # ready is said with the first
    stopped = stand_still(server, "sonogated: worker")
    # Well before its deadline of 300 s: they are missed, killed, and others do the job.
    assert_job_answer(server.post("/v1/analyze", data=SHORT, timeout=30), "analyze")
    killed = [pid for pid in stopped if not is_running(pid)]
    assert killed
    assert f"sonogate_silent_children_total {len(killed)}\n" in server.get("/metrics").text
    assert "sonogate_quarantined_contents 0\n" in server.get("/metrics").text
    for pid in stopped:
        if is_running(pid):
            os.kill(pid, signal.SIGCONT)  # the idle one was not missed


def test_a_librarian_and_a_zygote_that_stand_still_are_replaced(server):
    stopped = stand_still(server, "sonogated: librarian")
    assert_job_answer(server.post("/v1/identify", data=CLIP, timeout=30), "identify")
    stopped += stand_still(server, "sonogated: zygote")
    wait_until(lambda: not any(is_running(pid) for pid in stopped))
    assert_serves_again(server)


def test_serve_itself_is_killed_and_leaves_no_process(serve):
    server = serve()
    server.note_processes()
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in server.seen), 15)
    server.start()
    assert requests.get(server.base + "/health", timeout=5).status_code == 200
