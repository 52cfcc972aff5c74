"""Decides how nginx is started with an operator's file: as it stands, or as a copy with a few words changed.

The file itself is used wherever that works, so that editing it and reloading nginx does what one expects. A copy is
made where --port asks for another port, where the file would write outside the state folder (pid, the access log that
is compiled into Debian's nginx), and for an ordinary user, who cannot write nginx's compiled-in temporary folders.
"""

import os
import pwd

from nginx_conf import ConfError, NginxConf

TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
DEFAULT_PORT = 8080


class Plan:
    def __init__(self, conf_path, state, port):
        self.conf = NginxConf(conf_path)
        self.state = state
        self.edits = []
        if self.conf.http is None:
            raise ConfError(f"{conf_path}: there is no http block")
        self.listens = list(self.conf.listens())
        self.ports = sorted({listen.port for listen in self.listens})
        if port is not None:
            self._move_port(port)
        self._keep_files_inside()

    # ---- decisions

    def _move_port(self, port):
        if not self.ports:
            raise ConfError(f"{self.conf.path}: no `listen` with a port: --port {port} has nothing to replace")
        old = self.ports[0] if len(self.ports) == 1 else DEFAULT_PORT
        if old not in self.ports:
            raise ConfError(
                f"{self.conf.path}: --port {port} is not clear: the file listens on "
                f"{', '.join(map(str, self.ports))} and none is {DEFAULT_PORT}"
            )
        if old == port:
            return
        if port in self.ports:
            raise ConfError(f"{self.conf.path}: --port {port}: the file listens on it already, beside {old}")
        for listen in self.listens:
            if listen.port != old:
                continue
            if listen.path != self.conf.path:
                raise ConfError(f"{listen.path}: --port {port} cannot change a `listen` of an included file")
            word = listen.word
            address = self.conf.text[word.start : word.end]
            head = address[: -len(str(old))] if address.endswith(str(old)) else address + ":"
            self.edits.append((word.start, word.end, f"{head}{port}"))
            listen.port = port
        self.ports = sorted({listen.port for listen in self.listens})

    def _keep_files_inside(self):
        pid = self.conf.main("pid")
        if pid and pid.path == self.conf.path and pid.arguments and os.path.isabs(pid.arguments[0].text):
            self.edits.append((pid.arguments[0].start, pid.arguments[0].end, "run/nginx.pid"))
            self.pid_path = "run/nginx.pid"
        else:
            self.pid_path = pid.arguments[0].text if pid and pid.arguments else "run/nginx.pid"
        daemon = self.conf.main("daemon")
        if daemon and daemon.values() == ["on"] and daemon.path == self.conf.path:
            self.edits.append((daemon.arguments[0].start, daemon.arguments[0].end, "off"))

        here = {directive.name for directive in self.conf.http.block}
        inject = [] if "access_log" in here else ["access_log logs/access.log;"]
        inside_works = self._worker_reaches_state()
        if os.geteuid() != 0 or ((inject or self.edits) and inside_works):
            inject += [f"{name}_temp_path tmp/{name};" for name in TEMP_PATHS if f"{name}_temp_path" not in here]
        if inject:
            if self.conf.http.path != self.conf.path:
                raise ConfError(
                    f"{self.conf.http.path}: the http block stands in an included file; write there: {' '.join(inject)}"
                )
            brace = self.conf.http.brace
            self.edits.append((brace, brace, " " + " ".join(inject)))

    def _worker_reaches_state(self):
        """May nginx's workers walk into the state folder? Not when root made it 0700, as mktemp -d does."""
        if os.geteuid() != 0:
            return True
        try:
            user = pwd.getpwnam(self.conf.user())
        except KeyError:
            return False
        folder = self.state
        while True:
            status = os.stat(folder)
            shift = 6 if status.st_uid == user.pw_uid else 3 if status.st_gid == user.pw_gid else 0
            if not (status.st_mode >> shift) & 1:
                return False
            if folder == "/":
                return True
            folder = os.path.dirname(folder)

    # ---- what follows from them

    def write(self):
        """The path to hand to nginx: the operator's file, or a fresh copy among links to its neighbours."""
        if not self.edits:
            return self.conf.path
        folder = os.path.join(self.state, "rendered")
        os.makedirs(folder, exist_ok=True)
        copy = os.path.join(folder, os.path.basename(self.conf.path))
        for name in set(os.listdir(folder)) | set(os.listdir(self.conf.folder)):
            link, target = os.path.join(folder, name), os.path.join(self.conf.folder, name)
            if link == copy or (os.path.islink(link) and os.readlink(link) == target and os.path.lexists(target)):
                continue
            if os.path.lexists(link):
                os.unlink(link)
            if os.path.lexists(target) and target not in (self.state, folder):
                os.symlink(target, link)
        with open(copy + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(self.conf.edited(self.edits))
        os.replace(copy + ".new", copy)
        return copy

    def globals(self):
        """nginx's -g: what the file leaves open."""
        out = []
        if self.conf.main("daemon") is None:
            out.append("daemon off;")
        if self.conf.main("pid") is None:
            out.append(f"pid {self.pid_path};")
        return " ".join(out)

    def probe(self):
        """(url, listen) that says best whether the server is up; (None, None) without any TCP listen."""
        order = sorted(self.listens, key=lambda l: (not l.plain, not l.tls, l.port != DEFAULT_PORT))
        if not order:
            return None, None
        listen = order[0]
        host = listen.host if listen.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if listen.tls else 'http'}://{shown}:{listen.port}/", listen
