"""One sonogate as an operator starts it: scripts/serve with a generated nginx.conf, in a folder of its own.

For: starting, finding the processes, killing some, and checking what is left afterwards. Not for: requests
(contract.py, raw_http.py) nor sounds (sounds.py).
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import requests

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(REPOSITORY, "scripts/serving"))

from processes import descendants  # noqa: E402

BUILD = os.path.abspath(os.path.join(REPOSITORY, os.environ.get("SONOGATE_BUILD", "build/release")))
START_S, STOP_S = 60, 30

CONF = """\
load_module modules/ngx_http_sonogate_module.so;
worker_processes {workers};
error_log logs/error.log {log_level};
{main}
events {{ worker_connections 1024; }}
http {{
    {http}
    sonogate_pool main {{ socket run/main.sock; catalog sqlite:{catalog}; {pool} }}
    server {{
        listen 127.0.0.1:8080;
        {listen}
        {server}
        location / {{ sonogate_pass main; sonogate_catalog write open; {location} }}
    }}
}}
"""
PIECES = {"workers": 2, "log_level": "info", "main": "", "http": "", "pool": "", "catalog": "catalog.db", "listen": "", "server": "", "location": ""}


def virtual(name, server="", location=""):
    """Another server on the same port, found by its Host; a piece of `http`."""
    return f"server {{ listen 127.0.0.1:8080; server_name {name}; {server} location / {{ sonogate_pass main; {location} }} }}\n"


PLACE = '} location ~ ^/%s(/.*)$ { rewrite ^/%s(/.*)$ $1 break; sonogate_pass main; sonogate_catalog write open; %s'


def places(**settings):
    """Locations /NAME/v1/… with settings of their own, for one server."""
    return " ".join(PLACE % (name, name, text) for name, text in settings.items())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def reachable_folder(factory, name):
    """A folder of pytest's; nginx's workers are another user when its master is root, and must be able to walk in."""
    folder = factory.mktemp(name)
    for path in (folder, *folder.parents):
        if str(path) == "/tmp" or path.owner() != "root":
            break
        os.chmod(path, 0o755)
    return folder


def make_certificate(folder):
    """tls.crt and tls.key, for nginx and for clients."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", folder / "tls.key", "-out", folder / "tls.crt"], check=True, capture_output=True, timeout=30)  # fmt: skip


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def wait_until(what, seconds=20.0, step=0.05):
    """The first true value of what(); fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {getattr(what, '__name__', what)}"
        time.sleep(step)


class Served:
    """Settings are pieces of nginx.conf, each put in its place; see CONF."""

    def __init__(self, folder, command=(), files=(), **settings):
        self.folder = str(folder)
        for name, text in dict(files).items():  # beside nginx.conf
            (folder / name).write_text(text)
        self.state = os.path.join(self.folder, "state")
        self.conf_path = os.path.join(self.folder, "nginx.conf")
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.command = list(command)  # who runs it, e.g. setpriv …
        self.allowed_in_log = []
        self.allowed_refusals = 0
        self.seen = set()
        self.process = None
        self.write_conf(**settings)

    def write_conf(self, **settings):
        with open(self.conf_path + ".new", "w", encoding="ascii") as file:
            file.write(CONF.format(**(PIECES | settings)))
        os.replace(self.conf_path + ".new", self.conf_path)

    def change_conf(self, **settings):
        """write_conf() under a server that runs: afterwards a reload takes it, since scripts/serve has seen it."""
        copy = os.path.join(self.state, "rendered", os.path.basename(self.conf_path))

        def stamp():
            status = os.stat(copy)
            return status.st_ino, status.st_mtime_ns

        before = stamp()
        self.write_conf(**settings)
        wait_until(lambda: stamp() != before)

    # ---- life

    def start(self, ready=True):
        self.output_path = os.path.join(self.folder, "serve.out")
        with open(self.output_path, "ab") as output:
            self.process = subprocess.Popen(
                self.command + [os.path.join(REPOSITORY, "scripts/serve"), "--port", str(self.port), "--state", self.state, "--conf", self.conf_path],
                stdout=output, stderr=output, start_new_session=True, env=dict(os.environ) | {"SONOGATE_BUILD": BUILD},
            )
        if ready:
            self.wait_ready()
        return self

    def is_ready(self):
        assert self.process.poll() is None, f"scripts/serve ended:\n{self.output()}"
        try:
            return requests.get(self.base + "/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def wait_ready(self, seconds=START_S):
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            assert time.monotonic() < deadline, f"not ready after {seconds} s:\n{self.output()}{self.error_log()[-3000:]}"
            time.sleep(0.05)
        self.note_processes()

    def stop(self, number=signal.SIGTERM):
        """Stops it and looks at what is left; the checks are those of every test."""
        if self.process is None:
            return
        self.note_processes()
        refused = self.refused_calls()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            left = [f"{pid} {command_of(pid)}" for pid in self.seen if is_running(pid)]
            self.kill_all()
            raise AssertionError(f"scripts/serve did not stop in {STOP_S} s; left: {left}\n{self.output()}") from None
        self.process = None
        self.check_nothing_left()
        self.check_log()
        self.check_sanitizers()
        if refused != self.allowed_refusals:
            lines = [line for line in self.daemon_log().splitlines() if "its filter refused" in line]
            raise AssertionError(f"a worker asked for system calls that its filter does not let through: {lines}")

    def kill_all(self):
        """kill -9 of everything, as a power cut of the processes."""
        self.note_processes()
        everything = [self.process.pid] + descendants(self.process.pid)
        for pid in everything:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(STOP_S)
        wait_until(lambda: not any(is_running(pid) for pid in self.seen))
        self.process = None

    # ---- processes

    def note_processes(self):
        if self.process:
            self.seen.update(pid for pid in descendants(self.process.pid) if command_of(pid).startswith(("nginx", "sonogated")))

    def pids(self, role):
        """Running processes by the beginning of their titles, e.g. "sonogated: worker", "nginx: worker"."""
        self.note_processes()
        return [pid for pid in descendants(self.process.pid) if command_of(pid).startswith(role)]

    def kill(self, pid, number=signal.SIGKILL):
        if command_of(pid).startswith("nginx: worker"):
            self.allowed_in_log.append(rf"worker process {pid} exited on signal 9")
        os.kill(pid, number)

    def reload(self):
        """nginx -s reload, in effect: SIGHUP to the master."""
        (master,) = self.pids("nginx: master")
        os.kill(master, signal.SIGHUP)

    def descriptors(self, role):
        """How many descriptors the processes of that role hold, together."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids(role))

    # ---- what is left

    def check_nothing_left(self):
        running = [f"{pid} {command_of(pid)}" for pid in self.seen if is_running(pid)]
        assert not running, f"processes are left: {running}"
        for folder, _, names in os.walk(self.state):
            for name in names:
                path = os.path.join(folder, name)
                assert os.path.islink(path) or os.path.isfile(path), f"left in the state folder: {path}"

    def check_log(self):
        bad = [
            line
            for line in self.error_log().splitlines()
            if re.search(r"\[(alert|crit|emerg)\]", line) and not any(re.search(p, line) for p in self.allowed_in_log)
        ]
        assert not bad, "error.log:\n" + "\n".join(bad[:20])

    def refused_calls(self):
        """What no filter let through, where /metrics is to be had: nothing that honest code does is among it."""
        try:
            text = requests.get(self.base + "/metrics", timeout=2).text
        except requests.RequestException:
            return self.allowed_refusals
        found = re.findall(r"^sonogate_sandbox_violations_total\S* (\d+)$", text, re.MULTILINE)
        return sum(map(int, found)) if found else self.allowed_refusals

    def check_sanitizers(self):
        """What AddressSanitizer and its kin said, where the build has them; it goes to standard error."""
        for name in os.listdir(os.path.join(self.state, "logs")):
            with open(os.path.join(self.state, "logs", name), encoding="utf-8", errors="replace") as file:
                text = file.read()
            found = re.search(r"ERROR: \w+Sanitizer|runtime error:", text)
            assert not found, f"{name}:\n{text[found.start() : found.start() + 4000]}"

    def error_log(self):
        try:
            with open(os.path.join(self.state, "logs/error.log"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def daemon_log(self, pool="main"):
        with open(os.path.join(self.state, f"logs/{pool}.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def output(self):
        with open(self.output_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    # ---- requests

    def post(self, path, **arguments):
        return requests.post(self.base + path, timeout=arguments.pop("timeout", 120), **arguments)

    def get(self, path, **arguments):
        return requests.get(self.base + path, timeout=arguments.pop("timeout", 60), **arguments)

    def request(self, method, path, **arguments):
        return requests.request(method, self.base + path, timeout=arguments.pop("timeout", 60), **arguments)
