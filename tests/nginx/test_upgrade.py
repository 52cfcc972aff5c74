"""nginx's binary is upgraded (USR2) under load, as a package upgrade does it: no request is lost."""

import os
import signal

from contract import assert_job_answer
from load import FRESH, Load, every_kind
from served import is_running, wait_until
from sounds import tone, wav

SHORT = wav(tone(440, 0.5))


def number_in(path):
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def upgrade(server):
    """A new master beside the old one; once its workers are there, QUIT to the old one."""
    (master,) = server.pids("nginx: master")
    old = set(server.pids("nginx: worker"))
    server.kill(master, signal.SIGUSR2)
    wait_until(lambda: number_in(os.path.join(server.state, "run/nginx.pid")) not in (None, master))
    wait_until(lambda: len(set(server.pids("nginx: worker")) - old) == 2)
    server.kill(master, signal.SIGQUIT)
    wait_until(lambda: not is_running(master), 30)


def test_upgrades_under_load_lose_no_request(serve):
    server = serve(location="sonogate_max_body 64m;")
    with Load(every_kind(server), 8) as load:
        for _ in range(2):
            before = len(load.done)
            upgrade(server)
            wait_until(lambda n=before: load.failures or len(load.done) > n + 12)
        # The successor is looked after as its predecessor was: it reloads, and ends with everything else.
        old = set(server.pids("nginx: worker"))
        server.reload()
        wait_until(lambda: not old & set(server.pids("nginx: worker")), 30)
    assert len(load.done) > 24
    assert "ended" not in server.output()
    print(f"{len(load.done)} requests, 2 upgrades, 1 reload, none lost")


def test_nothing_is_left_when_serve_is_killed_after_an_upgrade(serve):
    server = serve()
    upgrade(server)
    server.note_processes()
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in server.seen), 15)
    server.start()  # in the same folder, on the same port
    assert_job_answer(server.post("/v1/analyze", data=SHORT, headers=FRESH), "analyze")
