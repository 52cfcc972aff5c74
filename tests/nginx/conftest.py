"""Fixtures: one server that most tests share, and a factory for those that kill or configure theirs."""

import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from served import Served, free_port, reachable_folder  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--strangers", type=int, default=240, help="clips of nothing enrolled, for test_calibration.py")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Two nginx workers, 256 MB bodies, an HTTP/2 listener. Tests that share it kill nothing."""
    h2_port = free_port()
    served = Served(
        reachable_folder(tmp_path_factory, "shared"),
        listen=f"listen 127.0.0.1:{h2_port} http2;",
        location="sonogate_max_body 256m; client_body_timeout 20s;",
    )
    served.h2_port = h2_port
    served.h2_base = f"http://127.0.0.1:{h2_port}"
    try:
        yield served.start()
    finally:
        served.stop()


@pytest.fixture
def serve(tmp_path_factory):
    """serve(**settings) starts a server of the test's own; all are stopped, and looked at, afterwards."""
    started = []

    def start(ready=True, command=(), **settings):
        served = Served(reachable_folder(tmp_path_factory, "own"), command, **settings)
        started.append(served)
        return served.start(ready)

    yield start
    failures = []
    for served in started:
        try:
            served.stop()
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n".join(failures)
