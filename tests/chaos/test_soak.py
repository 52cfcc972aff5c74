"""Many small requests: memory is flat once everything has been warm."""

import threading

import requests

from contract import assert_job_answer
from sounds import tone, wav
from test_chaos import assert_calm, rss_anonymous

CONNECTIONS = 8
GROWTH_MIB = 8  # in the last nine tenths; a leak of 50 bytes a request shows at 200,000


def memory(server):
    return {role: sum(map(rss_anonymous, server.pids(role))) for role in ("nginx: worker", "sonogated: broker", "sonogated: worker", "sonogated: librarian")}


def send_many(server, count, body):
    failures = []

    def send():
        try:
            with requests.Session() as session:
                for _ in range(count // CONNECTIONS):
                    assert_job_answer(session.post(server.base + "/v1/analyze", data=body, timeout=60), "analyze")
        except Exception as error:  # noqa: BLE001 - told by the caller
            failures.append(error)

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_memory_is_flat(served_in, request):
    count = request.config.getoption("--soak-requests")
    server = served_in(pool="workers 2;")
    server.start()
    body = wav(tone(440, 0.02))
    send_many(server, count // 10, body)
    assert_calm(server)
    before = memory(server)
    send_many(server, count - count // 10, body)
    assert_calm(server)
    after = memory(server)
    print(f"{count} requests: " + ", ".join(f"{role} {before[role] / 2**20:.1f} -> {after[role] / 2**20:.1f} MiB" for role in before))
    for role in before:
        assert after[role] <= before[role] + (GROWTH_MIB << 20), f"{role}: {before} -> {after}"
