"""A worker's sandbox, seen from outside: what /proc shows, what /metrics tells, and what is left where the system is poorer."""

import errno
import os
import pwd
import re
import signal
import sys

import pytest

from contract import assert_job_answer
from load import Load
from metrics import scrape
from served import Served, command_of, reachable_folder, wait_until
from sounds import tone, wav, wav_of_size
from taken_over import POSSIBLE, STACK, call_inside, spin_inside

CLIP = wav(tone(440, 0.5))
NAMESPACES = ("user", "mnt", "net", "pid", "ipc")
LAYERS = ("user_namespace", "mount_namespace", "network_namespace", "pid_namespace", "ipc_namespace", "empty_root")
ALWAYS = ("unprivileged", "no_new_privileges", "limits", "filter")

# A build with sanitizers runs without filters, and says so.
pytestmark = pytest.mark.skipif("asan" in os.environ.get("SONOGATE_BUILD", ""), reason="sanitizers open and map what they like")


def layers(server, process="worker"):
    found = {}
    for key, value in scrape(server)[0].items():
        match = re.fullmatch(rf'sonogate_sandbox_layer{{process="{process}",layer="(\w+)"}}', key)
        if match:
            found[match[1]] = value
    return found


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def namespaces(pid):
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES}


def test_what_the_system_allows_is_told(server):
    told = layers(server)
    assert set(told) == {*LAYERS, *ALWAYS}
    assert all(told[name] == 1 for name in ALWAYS), told
    assert layers(server, "librarian") == layers(server, "broker") == {"no_new_privileges": 1, "filter": 1}
    lines = [line for line in server.daemon_log().splitlines() if "workers: confined by" in line]
    assert len(lines) == 1, lines
    for name, has in told.items():
        assert (name in lines[0].partition("refused")[0]) == bool(has), lines[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="a worker lets nobody but root look")
def test_proc_shows_what_is_told(server):
    assert_job_answer(server.post("/v1/analyze", data=CLIP), "analyze")
    # Beyond a warm slab: its worker is handed the descriptor, and keeps nothing of it.
    assert_job_answer(server.post("/v1/analyze", data=wav_of_size(9 << 20)), "analyze")
    told = layers(server)
    own, seen = namespaces("self"), set()
    workers = server.pids("sonogated: worker")
    for pid in workers:
        about = status(pid)
        assert about["NoNewPrivs"] == "1" and about["Seccomp"] == "2"
        assert set(about["Uid"].split()) == {"65534"} == set(about["Gid"].split())
        assert int(about["CapEff"], 16) == int(about["CapPrm"], 16) == 0
        for name, layer in zip(NAMESPACES, LAYERS):
            assert (namespaces(pid)[name] != own[name]) == bool(told[layer]), name
        if told["pid_namespace"]:
            assert about["NSpid"].split()[-1] == "1"
            seen.add(namespaces(pid)["pid"])
        if told["empty_root"]:
            assert os.readlink(f"/proc/{pid}/root").endswith(" (deleted)") and not os.listdir(f"/proc/{pid}/root")
        assert os.readlink(f"/proc/{pid}/cwd").endswith(" (deleted)")
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert not file.read().strip(b"\0")
        opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert len(opened) == 1 and opened[0].startswith("socket:"), opened
        with open(f"/proc/{pid}/maps", encoding="ascii") as file:
            writable = {line.split(maxsplit=5)[5].split()[0] for line in file if "memfd" in line and "w" in line.split()[1]}
        assert writable == {"/memfd:sonogate-channel-out"}
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            limits = {m[1].strip(): (m[2], m[3]) for m in (re.match(r"(.{25}) (\w+) +(\w+)", line) for line in file) if m}
        assert limits["Max core file size"] == ("0", "0") and limits["Max processes"] == ("0", "0")
        assert int(limits["Max open files"][1]) <= 20 and int(limits["Max file size"][1]) == 64 << 20
        assert limits["Max data size"][1] != "unlimited" and limits["Max address space"][1] != "unlimited"
    if told["pid_namespace"]:
        assert len(seen) == len(workers), "each has a pid namespace of its own"


def test_nothing_that_decoding_takes_is_refused(server):
    assert_job_answer(server.post("/v1/analyze", data=CLIP), "analyze")
    assert_job_answer(server.post("/v1/identify", data=CLIP), "identify")
    samples = scrape(server)[0]
    assert samples['sonogate_sandbox_violations_total{outcome="refused"}'] == 0
    assert samples['sonogate_sandbox_violations_total{outcome="killed"}'] == 0


CALLS = {"openat": 257, "connect": 42, "kill": 62, "dup": 32, "shmget": 29, "execve": 59, "fork": 57, "ptrace": 101, "socket": 41, "mmap": 9, "rt_sigaction": 13, "unlink": 87}
REFUSED = {
    "open a file": ("openat", -100, STACK, os.O_RDONLY),
    "kill everybody": ("kill", -1, signal.SIGKILL),
    "a second channel": ("dup", 0),
    "memory of others": ("shmget", 0, 4096, 0o600),
    "memory that no limit counts": ("mmap", 0, 64 << 30, 3, 0x21, -1, 0),
    "a stack that grows": ("mmap", 0, 64 << 30, 3, 0x122, -1, 0),
}
KILLED = {
    "connect": ("connect", 0, STACK, 16),
    "a socket": ("socket", 2, 1, 0),
    "another program": ("execve", STACK, 0, 0),
    "another process": ("fork",),
    "look into others": ("ptrace", 16, 1, 0, 0),
    "new code": ("mmap", 0, 4096, 4 | 1, 0x22, -1, 0),
    "attempts that nobody counts": ("rt_sigaction", signal.SIGSYS, 0, 0, 8),
}


def test_a_stopped_worker_goes_on_where_it_waited(serve):
    server = serve(pool="workers 1;")
    wait_until(lambda: len(server.pids("sonogated: worker")) == 2)
    workers = server.pids("sonogated: worker")
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in workers:
            os.kill(pid, number)
    assert_job_answer(server.post("/v1/analyze", data=CLIP), "analyze")
    assert server.pids("sonogated: worker") == workers  # and no call was refused: Served looks


@pytest.mark.skipif(not POSSIBLE, reason="reaches into a worker")
def test_a_worker_that_was_taken_over_reaches_nothing_and_the_service_goes_on(serve):
    server = serve(pool="workers 1;")
    server.allowed_refusals = len(REFUSED) + len(KILLED)
    wait_until(lambda: len(server.pids("sonogated: worker")) == 2)

    def counted(outcome):
        return scrape(server)[0][f'sonogate_sandbox_violations_total{{outcome="{outcome}"}}']

    workers = server.pids("sonogated: worker")
    for attempts, (what, (name, *arguments)) in enumerate(REFUSED.items(), 1):
        assert call_inside(workers[attempts % 2], CALLS[name], *arguments) == -errno.ENOSYS, what
        assert counted("refused") == attempts
        assert_job_answer(server.post("/v1/analyze", data=CLIP), "analyze")
    assert server.pids("sonogated: worker") == workers
    for attempts, (what, (name, *arguments)) in enumerate(KILLED.items(), 1):
        victim = server.pids("sonogated: worker")[0]
        assert call_inside(victim, CALLS[name], *arguments) is None, what
        wait_until(lambda: counted("killed") == attempts)  # noqa: B023
        assert_job_answer(server.post("/v1/analyze", data=CLIP), "analyze")
        wait_until(lambda: len(set(server.pids("sonogated: worker")) - {victim}) == 2)  # noqa: B023


@pytest.mark.skipif(not POSSIBLE, reason="reaches into the daemon")
def test_librarian_and_broker_that_were_taken_over_open_no_memory_and_the_broker_changes_no_file(server):
    (broker,), (librarian,), (zygote,) = (server.pids(f"sonogated: {role}") for role in ("broker", "librarian", "zygote"))
    for who, whom in ((librarian, broker), (librarian, zygote), (broker, librarian), (broker, zygote)):
        assert wait_until_called(who, "openat", -100, f"/proc/{whom}/mem", os.O_RDONLY) == -errno.EACCES
    assert wait_until_called(librarian, "openat", -100, f"/proc/{broker}/mem", os.O_RDWR) == -errno.EACCES
    victim = os.path.join(server.state, "victim")
    with open(victim, "w", encoding="ascii") as file:
        file.write("kept")
    for name, *arguments in (("openat", -100, victim, os.O_RDONLY | os.O_TRUNC), ("openat", -100, victim, os.O_RDWR), ("unlink", victim)):
        assert wait_until_called(broker, name, *arguments) == -errno.EACCES
    with open(victim, encoding="ascii") as file:
        assert file.read() == "kept"
    for pid, capabilities in ((broker, {2, 5}), (librarian, {0, 1})):  # KILL and DAC_READ_SEARCH; CHOWN and DAC_OVERRIDE
        about = status(pid)
        assert int(about["CapPrm"], 16) == int(about["CapEff"], 16) == sum(1 << bit for bit in capabilities) & int(status("self")["CapPrm"], 16)
    assert_job_answer(server.post("/v1/identify", data=CLIP), "identify")


def wait_until_called(pid, name, *arguments):
    """call_inside() of a process that is busy now and then."""

    def attempt():
        try:
            return [call_inside(pid, CALLS[name], *arguments)]
        except AssertionError:
            return None

    return wait_until(attempt)[0]


@pytest.mark.skipif(not POSSIBLE, reason="reaches into a worker")
def test_a_worker_that_works_without_a_job_is_ended(serve):
    server = serve(pool="workers 1;")
    wait_until(lambda: len(server.pids("sonogated: worker")) == 2)
    lost = server.pids("sonogated: worker")[0]
    spin_inside(lost)
    wait_until(lambda: lost not in server.pids("sonogated: worker"))
    assert "works without a job" in server.daemon_log()
    assert_job_answer(server.post("/v1/analyze", data=CLIP), "analyze")


def test_a_worker_that_dies_of_nothing_is_replaced_later_and_later(serve):
    server = serve(pool="workers 1;")
    for pause_ms in (100, 200):
        wait_until(lambda: len(server.pids("sonogated: worker")) == 2 and scrape(server)[0]['sonogate_workers{state="ready"}'] == 2)
        worker = next(pid for pid in server.pids("sonogated: worker") if "worker 0" in command_of(pid))
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: f"worker 0 starts again in {pause_ms} ms" in server.daemon_log())  # noqa: B023
    assert_job_answer(server.post("/v1/analyze", data=CLIP), "analyze")


def works_and_tells(served, left):
    assert_job_answer(served.post("/v1/analyze", data=CLIP), "analyze")
    told = layers(served)
    assert all(told[name] == 1 for name in ALWAYS), told
    # Only the layers that a kernel may refuse; which ones this one gives an ordinary user is its own affair.
    assert left is None or {name for name in LAYERS if told[name] == 1} == left, told


AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
WITHOUT_NAMESPACES = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "no_namespaces.py")]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(
    "command, left",
    [(AS_NOBODY, None), (WITHOUT_NAMESPACES, {"empty_root"}), (AS_NOBODY + WITHOUT_NAMESPACES, set())],
    ids=["ordinary user", "root in a container", "ordinary user in a container"],
)
def test_a_poorer_system_runs_it(tmp_path_factory, command, left):
    served = Served(reachable_folder(tmp_path_factory, "poorer"), command)
    nobody = pwd.getpwnam("nobody")
    os.chown(served.folder, nobody.pw_uid, nobody.pw_gid)
    try:
        works_and_tells(served.start(), left)
    finally:
        served.stop()


def test_a_worker_makes_way_after_its_jobs(serve):
    """worker_jobs 1: every job has a process of its own, and none waits for one in vain."""
    server = serve(pool="worker_jobs 1; workers 2;")
    with Load(lambda _: server.post("/v1/analyze", data=CLIP).status_code, 6) as load:
        wait_until(lambda: len(load.done) >= 60)
    assert set(load.done) == {200}
    samples = scrape(server)[0]
    assert samples["sonogate_workers_recycled_total"] >= 60
    assert samples["sonogate_worker_deaths_total"] == 0 and samples["sonogate_retries_total"] == 0
    wait_until(lambda: len(server.pids("sonogated: worker")) == 4)


def test_a_changed_bound_of_memory_is_for_new_workers(serve):
    server = serve(pool="workers 1; job_memory 64m;")
    wait_until(lambda: len(server.pids("sonogated: worker")) == 2)  # ready is said with the first
    old = set(server.pids("sonogated: worker"))
    os.kill(min(old), signal.SIGSTOP)  # who does not hear that he is to go is killed after his time
    server.write_conf(pool="workers 1; job_memory 128m;")
    server.process.send_signal(signal.SIGHUP)  # scripts/serve reads the file, then nginx does

    def renewed():
        now = set(server.pids("sonogated: worker"))
        return len(now) == 2 and not now & old

    wait_until(renewed)
    assert_job_answer(server.post("/v1/analyze", data=CLIP), "analyze")
