"""Child processes that cannot outlive their parent.

For: starting a program in a session of its own, with descriptors handed over as systemd does; ending it; finding what
it left behind. Not for: deciding when to start again (server.py).

Each child gets PR_SET_PDEATHSIG, so that it ends even when this process is killed with -9, and this process is a
subreaper, so that whoever loses its parent further down is found here. nginx's masters change their parents, so a Guard
ends them.
"""

import ctypes
import os
import signal
import time

from processes import descendants, running, session_members

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FIRST_PASSED_FD = 3  # SD_LISTEN_FDS_START
_libc = ctypes.CDLL(None, use_errno=True)

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def become_supervisor():
    """Signals are taken one at a time with sigtimedwait() from here on; orphans of children come to us."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def die_with_parent(parent, death_signal=signal.SIGTERM):
    """In a child: it gets `death_signal` when `parent` ends, however that ends."""
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def start(argv, output, listening=None):
    """Starts argv, stdout and stderr to the descriptor `output`; gives its pid. `listening` becomes descriptor 3."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        die_with_parent(parent)
        _become(argv, output, listening)
    finally:
        os._exit(127)


def _become(argv, output, listening=None):
    """In a child: argv in place of this program."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        environment = dict(os.environ)
        if listening is not None:
            os.dup2(listening, FIRST_PASSED_FD)
            os.set_inheritable(FIRST_PASSED_FD, True)
            environment |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())


def start_master(argv, output, is_up, guard):
    """Starts nginx through a process in between, and gives the pid of that: it ends with 0 once is_up(pid of nginx), which
    is our own child from then on, or as nginx does before. nginx takes USR2 for one of an upgrade that is under way, and
    ignores it, unless its parent is another by then than at its start; with `daemon off` nothing else would change it."""
    parent = os.getpid()
    between = os.fork()
    if between:
        guard.watch(between)
        return between
    code = 127
    try:
        os.setsid()  # which nginx and its successors stay in
        die_with_parent(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        master = os.fork()
        if master == 0:
            _become(argv, output)
            os._exit(127)
        code = 0
        while not is_up(master):
            ended, status = os.waitpid(master, os.WNOHANG)
            if ended:
                code = abs(os.waitstatus_to_exitcode(status)) or 1
                break
            time.sleep(0.01)
    finally:
        os._exit(code)


class Guard:
    """A process that outlives this one for a moment, to end the session that it was told of last: the number of an earlier
    one, whose nginx is gone, may be a stranger's by now."""

    def __init__(self):
        reading, self.writing = os.pipe()
        if os.fork():
            os.close(reading)
            return
        try:
            os.setsid()
            os.close(self.writing)
            told = b""
            while part := os.read(reading, 4096):
                told += part
            sessions = {int(line) for line in told.split()[-1:]}
            for number, seconds in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 1.0)):
                deadline = time.monotonic() + seconds
                for pid in session_members(sessions):
                    send(pid, number)
                while any(session_members(sessions)) and time.monotonic() < deadline:
                    time.sleep(0.02)
        finally:
            os._exit(0)

    def watch(self, session):
        os.write(self.writing, f"{session}\n".encode())


def reap():
    """(pid, exit status or negative signal) of every child that ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_for(pids, seconds):
    """Waits until the children `pids` have ended; gives those that have not. A further stop signal ends the wait."""
    left = set(pids)
    deadline = time.monotonic() + seconds
    while True:
        left -= {pid for pid, _ in reap()}
        remaining = deadline - time.monotonic()
        if not left or remaining <= 0:
            return left
        got = signal.sigtimedwait(SIGNALS, min(remaining, 0.2))
        if got and got.si_signo in (signal.SIGINT, signal.SIGTERM):
            return left


def end(pids, signals):
    """Sends each (signal, seconds to wait) in turn to those of `pids` that still run."""
    left = set(pids)
    for number, seconds in signals:
        for pid in left:
            send(pid, number)
        left = wait_for(left, seconds)
        if not left:
            return


def orphans(known):
    """Direct children that this process did not start: whose parent died."""
    me = os.getpid()
    return {pid for pid, parent in running() if parent == me and pid not in known}


def end_all():
    """Nothing is left below this process afterwards."""
    for _ in range(50):
        left = descendants(os.getpid())
        if not left:
            break
        for pid in left:
            send(pid, signal.SIGKILL)
        time.sleep(0.02)
        list(reap())
    list(reap())
