"""Audio that kills workers: its content is put away for a time, and its sender runs out of workers to kill."""

import time

import pytest

from contract import assert_answer_or_death, assert_job_answer, assert_problem
from load import FRESH, Load
from metrics import scrape
from served import places, wait_until
from sounds import noise, wav
from taken_over import POSSIBLE, fault_inside

SLOW = "/v1/analyze?fft_size=65536&hop=2"  # of an upload: 33,000 transforms, so that it is there to be killed
REAL_IP = "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;"


def upload(seed):
    """Noise of one length; only the content differs."""
    return wav(noise(3, 0.3, seed))


def kill_its_workers(server, data, headers=FRESH):
    """Sends it and kills whoever takes it, until there is an answer."""
    answers = []

    def work(_):
        if not answers:
            answers.append(server.post(SLOW, data=data, headers=headers))
        time.sleep(0.02)

    with Load(work, 1):
        deadline = time.monotonic() + 60
        while not answers and time.monotonic() < deadline:
            time.sleep(0.1)
            if 'state="busy"} 0\n' in server.get("/metrics", headers=FRESH).text:
                continue
            for pid in server.pids("sonogated: worker"):
                try:
                    server.kill(pid)
                except ProcessLookupError:
                    pass
    return answers[0]


def metric(server, name):
    return scrape(server)[0][name]


def test_content_that_killed_two_workers_is_put_away(serve):
    server = serve(pool="workers 1; quarantine 1h;", location="sonogate_max_body 64m;")
    bad, good = upload(1), upload(2)
    assert_problem(kill_its_workers(server, bad), 502, "worker-crashed")
    # As a part of a form, under another name, to another endpoint: it is the content that counts.
    assert_problem(server.post("/v1/analyze", data=bad, headers=FRESH), 422, "quarantined")
    assert_problem(server.post("/v1/fingerprint", files={"file": ("innocent.wav", bad)}, headers=FRESH), 422, "quarantined")
    assert metric(server, "sonogate_quarantined_contents") == 1
    assert_job_answer(server.post("/v1/analyze", data=good, headers=FRESH), "analyze")
    assert metric(server, 'sonogate_jobs_total{endpoint="analyze",outcome="quarantined"}') == 1


def test_a_large_upload_is_put_away_whole(serve):
    """One that is read piece by piece, after the answer: a last byte that differs is another content."""
    server = serve(pool="workers 1; quarantine 1h;", location="sonogate_max_body 64m;")
    bad = wav(noise(160, 0.3))
    assert len(bad) > 12 << 20
    assert_problem(kill_its_workers(server, bad), 502, "worker-crashed")
    good = bad[:-2] + bytes(b ^ 1 for b in bad[-2:])
    wait_until(lambda: metric(server, "sonogate_quarantined_contents") == 1)
    assert_problem(server.post("/v1/analyze?features=levels", data=bad, headers=FRESH), 422, "quarantined")
    assert_job_answer(server.post("/v1/analyze?features=levels", data=good, headers=FRESH), "analyze")


def test_it_is_put_away_for_a_time_only(serve):
    server = serve(pool="workers 1; quarantine 1s;", location="sonogate_max_body 64m;")
    bad = upload(1)
    assert_problem(kill_its_workers(server, bad), 502, "worker-crashed")
    wait_until(lambda: server.post("/v1/analyze", data=bad, headers=FRESH).status_code == 200)
    assert metric(server, "sonogate_quarantined_contents") == 0
    assert metric(server, "sonogate_blamed_deaths_total") == 1


def test_a_single_kill_9_puts_nothing_away(serve):
    server = serve(pool="workers 1;", location="sonogate_max_body 64m;")
    data = upload(1)
    for _ in range(3):
        answers = []
        with Load(lambda _: (answers or answers.append(server.post("/v1/analyze?fft_size=65536&hop=64", data=data, headers=FRESH)), time.sleep(0.02)), 1):
            wait_until(lambda: answers or 'state="busy"} 1\n' in server.get("/metrics", headers=FRESH).text)
            for pid in server.pids("sonogated: worker"):
                server.kill(pid)
            wait_until(lambda: answers, 60)
        assert_job_answer(answers[0], "analyze")
    assert metric(server, "sonogate_quarantined_contents") == 0
    assert metric(server, "sonogate_blamed_deaths_total") == 0


@pytest.mark.skipif(not POSSIBLE, reason="reaches into a worker")
def test_content_that_twice_made_a_worker_fault_is_put_away(serve):
    """Another worker may answer it each time, unless the fate of the second is known before one is free."""
    server = serve(pool="workers 1;", location="sonogate_max_body 64m;")
    data = upload(1)
    for deaths in (1, 2):
        answers = []
        with Load(lambda _: (answers or answers.append(server.post("/v1/analyze?fft_size=65536&hop=64", data=data, headers=FRESH)), time.sleep(0.02)), 1):
            wait_until(lambda: answers or 'state="busy"} 1\n' in server.get("/metrics", headers=FRESH).text)
            for pid in server.pids("sonogated: worker"):
                fault_inside(pid)
            wait_until(lambda: answers, 60)  # noqa: B023
        if deaths == 2 and answers[0].status_code == 422:
            assert_problem(answers[0], 422, "quarantined")
        else:
            assert_job_answer(answers[0], "analyze")
        wait_until(lambda: metric(server, "sonogate_blamed_deaths_total") == deaths)  # noqa: B023
    assert_problem(server.post("/v1/analyze", data=data, headers=FRESH), 422, "quarantined")


def test_who_keeps_killing_workers_is_told_to_come_back_later(serve):
    location = "sonogate_max_body 64m;" + places(silent="sonogate_rate_headers off;")
    server = serve(pool="workers 1; crash_budget 2/3600500ms;", location=location, server=REAL_IP)
    villain, neighbour = FRESH | {"X-Real-IP": "192.0.2.1"}, FRESH | {"X-Real-IP": "192.0.2.2"}
    for seed in (1, 2):
        assert_problem(kill_its_workers(server, upload(seed), villain), 502, "worker-crashed")
    for path, body in (("/v1/analyze", upload(3)), ("/v1/identify", upload(4)), ("/v1/analyze", upload(5)[:20_000])):
        answer = server.post(path, data=body, headers=villain)
        assert_problem(answer, 429, "rate-limited")
        assert 0 < int(answer.headers["Retry-After"]) <= 1801
        assert answer.headers["RateLimit-Policy"] == '"crashes";q=2;w=3601'  # whole seconds, and never none
        assert answer.headers["RateLimit"] == f'"crashes";r=0;t={answer.headers["Retry-After"]}'
    told_less = server.post("/silent/v1/analyze", data=upload(6), headers=villain)
    assert_problem(told_less, 429, "rate-limited")
    assert "Retry-After" in told_less.headers and "RateLimit" not in told_less.headers
    # What needs no worker is served, and so are others.
    assert server.get("/v1/tracks", headers=villain).status_code == 200
    assert_job_answer(server.post("/v1/analyze", data=upload(3), headers=neighbour), "analyze")
    assert metric(server, "sonogate_crash_budget_spent_identities") == 1
    assert metric(server, "sonogate_crash_budget_refusals_total") == 4


def test_a_restart_forgives(serve):
    """Both are of the daemon's memory: a verdict that was wrong does not outlive it."""
    server = serve(pool="workers 1;", location="sonogate_max_body 64m;")
    bad = upload(1)
    assert_answer_or_death(kill_its_workers(server, bad), "analyze")
    assert_problem(server.post("/v1/analyze", data=bad, headers=FRESH), 422, "quarantined")
    (broker,) = server.pids("sonogated: broker")
    server.kill(broker)
    wait_until(lambda: server.post("/v1/analyze", data=bad, headers=FRESH).status_code == 200, 20, 0.2)
