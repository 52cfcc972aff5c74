"""The wall clock is set under a running nginx, by days: rates count on as if nothing had happened."""

import datetime
import email.utils
import glob
import os
import shutil

import pytest

from served import reachable_folder, wait_until
from sounds import tone, wav

SMALL = wav(tone(440, 0.1))
HOUR_S, DAY_S = 3_600, 86_400


class WallClock:
    """What nginx, and nobody else, takes for the time of day: libfaketime's, which reads a file at every look."""

    def __init__(self, folder):
        (library,) = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        self.file = folder / "clock"
        self.step(0)
        settings = {"TIMESTAMP_FILE": self.file, "NO_CACHE": 1, "DONT_FAKE_MONOTONIC": 1, "DISABLE_SHM": 1}
        exported = [f"LD_PRELOAD={library}"] + [f"FAKETIME_{name}={value}" for name, value in settings.items()]
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        wrapper = folder / "bin/nginx"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexport {" ".join(exported)}\nexec {nginx} "$@"\n')
        wrapper.chmod(0o755)
        self.command = ["env", f"PATH={wrapper.parent}:{os.environ['PATH']}"]
        self.kept = "".join(f"env {one.partition('=')[0]}; " for one in exported)  # nginx clears its workers' environment

    def step(self, seconds):
        replacement = self.file.with_suffix(".new")
        replacement.write_text(f"{seconds:+d}s\n")
        replacement.rename(self.file)


@pytest.fixture
def clock(tmp_path_factory):
    return WallClock(reachable_folder(tmp_path_factory, "clock"))


def ask(server, path="", key="a"):
    return server.post(f"{path}/v1/analyze?features=levels&peaks=0", data=SMALL, headers={"X-Key": key})


def ahead_s(answer):
    """How far nginx's clock is ahead of ours."""
    told = email.utils.parsedate_to_datetime(answer.headers["Date"])
    return (told - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def rest(answer):
    """(r, t) of the only window."""
    (item,) = answer.headers["RateLimit"].split(",")
    return tuple(int(part.partition("=")[2]) for part in item.split(";")[1:])


def test_a_clock_that_is_set_changes_no_rate(serve, clock):
    server = serve(
        command=clock.command,
        main=clock.kept,
        http="sonogate_rate_zone z:1m key=$http_x_key;",
        location="sonogate_rate zone=z 3r/h;",
        server="location /second { rewrite ^/second(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 1r/2s; }",
    )
    third_s = HOUR_S // 3
    assert rest(ask(server)) == (2, third_s)
    for step_s, left in ((2 * DAY_S, 1), (-2 * DAY_S, 0)):
        clock.step(step_s)
        answer = ask(server)
        assert answer.status_code == 200
        assert ahead_s(answer) == pytest.approx(step_s, abs=60)
        r, t = rest(answer)
        assert r == left
        assert (3 - left) * third_s - 60 < t <= (3 - left) * third_s
    for step_s in (-2 * DAY_S, 400 * DAY_S, -60, 0):  # neither is a window over, nor does it last for ever
        clock.step(step_s)
        answer = ask(server)
        assert ahead_s(answer) == pytest.approx(step_s, abs=60)
        assert answer.status_code == 429
        assert third_s - 60 < int(answer.headers["Retry-After"]) <= third_s
        assert ask(server, key=f"new at {step_s}").status_code == 200
    for step_s in (DAY_S, -DAY_S):
        wait_until(lambda: ask(server, "/second").status_code == 429)
        clock.step(step_s)
        wait_until(lambda: ask(server, "/second").status_code == 200)
