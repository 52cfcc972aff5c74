"""The processes of one state folder: a daemon for each sonogate_pool, one nginx, and this supervisor.

The supervisor holds every pool's listening socket and hands it to the daemon as systemd does: a daemon that is
restarted keeps the socket's inode, and no connection attempt is refused meanwhile.
"""

import fcntl
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import children
import readiness
from nginx_conf import ConfError
from plan import Plan

MODULE = "ngx_http_sonogate_module.so"
DEBIAN_MODULES = "/usr/lib/nginx/modules"
BACKOFF_FIRST_S, BACKOFF_MOST_S, ALIVE_S = 0.1, 5.0, 10.0
NGINX_QUIT_S, NGINX_TERM_S, DAEMON_TERM_S, KILL_S = 10.0, 3.0, 8.0, 2.0
READY_WARNING_S = 10.0


class ServeError(Exception):
    """Serving cannot begin or go on; the text is for the operator."""


def say(text):
    print(f"sonogate: {text}", flush=True)


class Service:
    """A child that is started again, later each time, when it ends by itself."""

    def __init__(self, name, launch):
        self.name, self.launch = name, launch
        self.pid = None
        self.backoff_s = BACKOFF_FIRST_S
        self.started_at = self.start_at = 0.0

    def start(self):
        self.pid = self.launch()
        self.started_at = time.monotonic()

    def ended(self, code):
        now = time.monotonic()
        if now - self.started_at >= ALIVE_S:
            self.backoff_s = BACKOFF_FIRST_S
        self.pid = None
        self.start_at = now + self.backoff_s
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with status {code}"
        say(f"{self.name} ended {how}; starting it again in {self.backoff_s:g} s")
        self.backoff_s = min(self.backoff_s * 2, BACKOFF_MOST_S)


class Server:
    def __init__(self, conf_path, state, port, build):
        self.conf_path, self.state, self.port, self.build = os.path.abspath(conf_path), state, port, build
        self.nginx_binary = shutil.which("nginx") or "nginx"  # a path: after USR2 nginx runs what it was called by
        self.services, self.sockets = [], {}  # sockets: path -> listening socket
        self.nginx = None
        self.plan = None
        self.stamps = {}

    # ---- the folder

    def prepare(self):
        for name in ("", "run", "logs", "modules", "tmp"):
            os.makedirs(os.path.join(self.state, name), mode=0o755, exist_ok=True)
        lock = os.open(self._in("run/serve.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServeError(f"{self.state} is served already; give this one another --state") from None
        # Debian's own dynamic modules are reachable by the same relative path as ours.
        for target in glob.glob(f"{DEBIAN_MODULES}/*.so") + [os.path.join(self.build, "modules", MODULE)]:
            link = self._in("modules", os.path.basename(target))
            if os.path.lexists(link):
                os.unlink(link)
            os.symlink(target, link)

    def _in(self, *parts):
        return os.path.join(self.state, *parts)

    def _log(self, name):
        return os.open(self._in("logs", name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    # ---- pools and their daemons

    def _listen(self, path):
        """The pool's socket, owned by us. A path that somebody answers on is not ours to take."""
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with probe:
                if probe.connect_ex(path) == 0:
                    raise ServeError(f"somebody serves the socket {path} already")
            if os.path.lexists(path):
                os.unlink(path)
            listening.bind(path)
            os.chmod(path, 0o666)  # the daemon asks SO_PEERCRED who connects
            listening.listen(128)
        except OSError as error:
            raise ServeError(f"socket {path}: {error.strerror or error}") from None
        return listening

    def _open_pools(self):
        """A socket and a daemon for each pool that has none. One that left the file stays until the end: nginx
        workers of an older configuration may still use it."""
        for pool in self.plan.conf.pools():
            path = os.path.join(self.state, pool.socket)
            if path in self.sockets:
                continue
            self.sockets[path] = listening = self._listen(path)
            argv = [os.path.join(self.build, "sonogated"), "--state", self.state, "--name", pool.name]
            if os.geteuid() == 0:
                argv += ["--peer-user", self.plan.conf.user()]
            output = self._log(f"{pool.name}.log")
            service = Service(f"pool {pool.name}", lambda a=argv, o=output, s=listening: children.start(a, o, s.fileno()))
            service.start()
            self.services.append(service)

    # ---- nginx

    def _nginx_argv(self, *more):
        argv = [self.nginx_binary, "-p", self.state + "/", "-e", "logs/error.log", "-c", self.plan.write()]
        more_globals = self.plan.globals()
        return argv + (["-g", more_globals] if more_globals else []) + list(more)

    def _read_conf(self):
        plan = Plan(self.conf_path, self.state, self.port)
        self.stamps = {path: _stamp(path) for path in plan.conf.files()}
        self.plan = plan

    def check_conf(self):
        """nginx's own check; its words, with FILE's name and lines, are the error."""
        answer = subprocess.run(self._nginx_argv("-t", "-q"), capture_output=True, text=True, errors="replace", check=False)
        if answer.returncode != 0:
            written = self.plan.write()
            raise ServeError("nginx refuses the configuration\n" + answer.stderr.strip().replace(written, self.conf_path))

    def _check_ports(self):
        for listen in self.plan.listens:
            family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((listen.host, listen.port))
                except PermissionError:
                    raise ServeError(f"port {listen.port} needs root; choose another with --port") from None
                except OSError as error:
                    if error.errno == 98:  # EADDRINUSE
                        raise ServeError(f"port {listen.port} is taken by another program; choose another with --port") from None

    def _start_nginx(self):
        output = self._log("nginx.out")
        guard = children.Guard()
        self.nginx = Service("nginx", lambda: children.start_master(self._nginx_argv(), output, _is_nginx_master, guard))
        self.nginx.start()
        self.services.append(self.nginx)

    def _reload(self):
        try:
            self._read_conf()
            self._open_pools()
            self.check_conf()
        except (ConfError, ServeError) as error:
            say(f"not reloaded: {error}")
            return
        if self.nginx.pid:
            children.send(self.nginx.pid, signal.SIGHUP)
        say("reloading")

    def _follow_file(self):
        """Keeps the copy and the pools in step with FILE, so that a reload sent to nginx itself finds them."""
        if all(_stamp(path) == stamp for path, stamp in self.stamps.items()):
            return
        try:
            self._read_conf()
            self.plan.write()
            self._open_pools()
        except (ConfError, ServeError):
            pass  # half-written, perhaps; SIGHUP tells

    # ---- life

    def run(self):
        children.become_supervisor()
        self.prepare()
        try:
            self._read_conf()
            self._check_ports()
            self._open_pools()
            self.check_conf()
            self._start_nginx()
            self._supervise()
        finally:
            self._stop()

    def _supervise(self):
        probe = readiness.Probe(self.plan)
        announced, next_warning = False, time.monotonic() + READY_WARNING_S
        while True:
            got = signal.sigtimedwait(children.SIGNALS, 0.1 if not announced else 0.25)
            if got and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                return
            if got and got.si_signo == signal.SIGHUP:
                self._reload()
            self._restart_what_ended(announced)
            self._follow_file()
            if announced:
                continue
            waiting_for = probe.ask()
            if waiting_for is None:
                announced = True
                say(f"serving on {self.plan.probe()[0] or 'its unix sockets'} (state {self.state})")
            elif time.monotonic() > next_warning:
                next_warning = time.monotonic() + READY_WARNING_S
                say(f"not ready yet, waiting for: {waiting_for}")

    def _restart_what_ended(self, announced):
        for pid, code in children.reap():
            service = next((s for s in self.services if s.pid == pid), None)
            if service is None:
                continue
            if service is self.nginx:
                successor = self._successor_of_nginx()
                if successor:
                    service.pid = successor
                    continue
                if not announced:
                    raise ServeError(f"nginx did not start\n{self._tail('logs/nginx.out')}{self._tail('logs/error.log')}")
                self._end_orphans()
            service.ended(code)
        now = time.monotonic()
        for service in self.services:
            if service.pid is None and now >= service.start_at:
                service.start()

    def _successor_of_nginx(self):
        """The master itself, once it is up and our own child; the new one after a binary upgrade (USR2, QUIT). Not by the
        pid file: where upgrades follow each other closely, that names a later one, which is not our child yet."""
        ours = children.orphans({s.pid for s in self.services})
        return min((pid for pid in ours if _is_nginx_master(pid)), default=None)

    def _end_orphans(self):
        """Workers of a killed nginx master hold its ports: they go before the next one starts."""
        left = children.orphans({s.pid for s in self.services})
        children.end({pid for pid in left if _command(pid).startswith("nginx:")}, [(signal.SIGTERM, 2), (signal.SIGKILL, 1)])

    def _tail(self, name, lines=8):
        try:
            with open(self._in(name), encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except OSError:
            return ""

    def _stop(self):
        if self.nginx and self.nginx.pid:
            say("stopping")
            children.end(
                {self.nginx.pid}, [(signal.SIGQUIT, NGINX_QUIT_S), (signal.SIGTERM, NGINX_TERM_S), (signal.SIGKILL, KILL_S)]
            )
        daemons = {s.pid for s in self.services if s.pid and s is not self.nginx}
        children.end(daemons, [(signal.SIGTERM, DAEMON_TERM_S), (signal.SIGKILL, KILL_S)])
        children.end_all()
        for path, listening in self.sockets.items():
            listening.close()
            if os.path.lexists(path):
                os.unlink(path)


def _stamp(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _is_nginx_master(pid):
    return _command(pid).startswith("nginx: master")


def fail(error):
    print(f"sonogate: {error}", file=sys.stderr, flush=True)
    return 1
