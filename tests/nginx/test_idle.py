"""A server with nothing to do does nothing."""

import time

from contract import assert_job_answer
from sounds import tone, wav


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def test_an_idle_server_sleeps(serve):
    """Two ends that ring whenever the other goes to sleep would keep each other awake for ever."""
    server = serve()
    for _ in range(5):
        assert_job_answer(server.post("/v1/analyze", data=wav(tone(seconds=0.2))), "analyze")
    time.sleep(0.5)
    pids = server.pids("sonogated") + server.pids("nginx")
    before = {pid: cpu_seconds(pid) for pid in pids}
    time.sleep(2)
    for pid in pids:
        # A heartbeat a second costs a tenth of a millisecond; the ping-pong cost 270.
        assert cpu_seconds(pid) - before[pid] < 0.02
