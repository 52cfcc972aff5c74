"""How long and how much: short by default, so that it is part of every run; an operator's night is one option away.

    /usr/bin/python3 -m pytest tests/chaos --chaos-seconds 600 --mutants 20000 --soak-requests 200000
"""

import os
import sys

import pytest

sys.dont_write_bytecode = True
for folder in ("../nginx", "."):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), folder))

from served import Served, reachable_folder  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--chaos-seconds", type=float, default=20.0, help="how long the mishaps go on, one a second")
    parser.addoption("--chaos-seed", type=int, default=None, help="of what happens when; printed, random without it")
    parser.addoption("--mutants", type=int, default=600, help="mutated files of all formats together")
    parser.addoption("--soak-requests", type=int, default=4000, help="small requests, one after the other on 8 connections")


@pytest.fixture
def served_in(tmp_path_factory):
    """served_in(command=…, **settings): a server of the test's own, prepared; stopped and looked at afterwards."""
    made = []

    def make(**settings):
        made.append(Served(reachable_folder(tmp_path_factory, "chaos"), **settings))
        return made[-1]

    yield make
    for served in made:
        served.stop()
