"""Who is whose child, from /proc.

For: serving, tests and benchmarks, which all look below a process. Not for: starting or ending any (children.py).
"""

import os


def running():
    """(pid, parent's pid) of every process that has not ended."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state not in (b"Z", b"X"):
                yield int(name), int(parent)


def session_members(sessions):
    """The pids of processes in those sessions that have not ended."""
    for pid, _ in running():
        try:
            if os.getsid(pid) in sessions:
                yield pid
        except ProcessLookupError:
            continue


def descendants(root):
    """The pids below `root`, ended ones left out."""
    children = {}
    for pid, parent in running():
        children.setdefault(parent, []).append(pid)
    found, pending = [], [root]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found
