"""/health is nginx's own answer; /ready tells the parts."""

import os
import signal

from contract import REQUEST_ID, assert_problem, strict_json
from served import wait_until


def test_health_is_always_200(server):
    answer = server.get("/health")
    assert answer.status_code == 200
    assert REQUEST_ID.fullmatch(answer.headers["X-Request-Id"])


def test_health_answers_head_without_a_body(server):
    answer = server.request("HEAD", "/health")
    assert answer.status_code == 200
    assert answer.content == b""


def test_health_takes_no_other_method(server):
    answer = server.post("/health", data=b"x")
    assert_problem(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["Allow"]


def test_ready_names_every_part(server):
    answer = server.get("/ready")
    assert answer.status_code == 200
    parts = strict_json(answer)["parts"]
    assert set(parts) >= {"link", "workers", "librarian", "catalog", "disk"}


def test_ready_is_503_while_there_is_no_daemon_and_health_still_200(serve):
    server = serve(ready=True)
    (broker,) = server.pids("sonogated: broker")
    supervisor = server.process.pid
    os.kill(supervisor, signal.SIGSTOP)  # or it would start the next daemon at once
    try:
        server.kill(broker)
        wait_until(lambda: server.get("/ready").status_code == 503)
        assert strict_json(server.get("/ready"))["parts"]
        assert server.get("/health").status_code == 200
        answer = server.post("/v1/analyze", data=b"RIFF")
        assert_problem(answer, 503, "backend-unavailable")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    server.wait_ready()
