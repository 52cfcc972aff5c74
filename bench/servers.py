"""The servers under test, each in a folder of its own, on the loopback.

For: starting and ending them, and adding up the CPU time of all processes of one. Not for: load, figures, reports.
"""

import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(HERE)
sys.path.append(os.path.join(REPOSITORY, "scripts/serving"))

from processes import descendants  # noqa: E402

LARGEST_BODY = "16m"
WORKERS = os.cpu_count()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port} after {seconds} s")


def cpu_seconds(pid):
    """User and system time of all threads: to the nanosecond where the kernel counts so, else in ticks."""
    try:
        total_ns = 0
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                total_ns += int(file.read().split()[0])
        return total_ns / 1e9
    except FileNotFoundError:
        pass
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except FileNotFoundError:
        return 0.0


class Server:
    """Processes that end with this object. `roots` are those whose trees are counted."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.roots = []
        os.makedirs(os.path.join(folder, "logs"), exist_ok=True)

    def spawn(self, argv, **environment):
        log = open(os.path.join(self.folder, "logs/output"), "ab")
        self.roots.append(
            subprocess.Popen(argv, stdout=log, stderr=log, cwd=HERE, env=dict(os.environ) | environment)
        )

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def spawn_nginx(self, location, upstream):
        conf = self.write(
            "nginx.conf",
            f"""daemon off; pid logs/nginx.pid; worker_processes {WORKERS};
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_max_body_size {LARGEST_BODY};
    upstream backend {{ {upstream} }}
    server {{
        listen 127.0.0.1:{self.port};
        location / {{ {location} }}
    }}
}}
""",
        )
        self.spawn(["nginx", "-p", self.folder, "-e", "logs/error.log", "-c", conf])

    def cpu_seconds(self):
        return sum(cpu_seconds(pid) for root in self.roots for pid in [root.pid] + descendants(root.pid))

    def stop(self):
        for root in reversed(self.roots):
            root.send_signal(signal.SIGTERM)
        for root in reversed(self.roots):
            try:
                root.wait(30)
            except subprocess.TimeoutExpired:
                root.kill()
                root.wait()


class Sonogate(Server):
    """(a) sonogate as an operator starts it, but that its workers stay: the CPU time of those that ended could not be added up.

    `pool` and `server` are more settings of those blocks, `connections` those of a worker.
    """

    def __init__(self, folder, build, pool="", connections=1024, server=""):
        super().__init__(folder)
        conf = self.write(
            "bench.conf",
            f"""load_module modules/ngx_http_sonogate_module.so;
worker_processes {WORKERS};
worker_rlimit_nofile {2 * connections};
error_log logs/error.log;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout 600s;
    sonogate_pool main {{ socket run/main.sock; catalog sqlite:catalog.db; worker_jobs 1000000000; {pool} }}
    server {{
        listen 127.0.0.1:{self.port};
        {server}
        location / {{ sonogate_pass main; sonogate_max_body {LARGEST_BODY}; sonogate_catalog read; }}
    }}
}}
""",
        )
        serve = os.path.join(REPOSITORY, "scripts/serve")
        self.spawn([serve, "--state", os.path.join(folder, "state"), "--conf", conf], SONOGATE_BUILD=build)
        wait_for_port(self.port)


class Proxied(Server):
    """(b) nginx and a minimal epoll server: keep-alive unix socket, bodies buffered in memory."""

    def __init__(self, folder, build, answer_bytes):
        super().__init__(folder)
        path = os.path.join(folder, "backend.sock")
        self.spawn([os.path.join(build, "bench/bench_echo_server"), path, str(answer_bytes)])
        self.spawn_nginx(
            f"""proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
            client_body_buffer_size {LARGEST_BODY};""",
            f"server unix:{path}; keepalive 64;",
        )
        wait_for_port(self.port)


class Bare(Server):
    """(f) the minimal epoll server on a port of its own: the kernel's part, with no nginx and no job."""

    def __init__(self, folder, build, answer_bytes):
        super().__init__(folder)
        self.spawn([os.path.join(build, "bench/bench_echo_server"), str(self.port), str(answer_bytes)])
        wait_for_port(self.port)


class Flask(Server):
    """(c) nginx's proxy_pass at its defaults, gunicorn, Flask, scipy."""

    def __init__(self, folder):
        super().__init__(folder)
        backend = free_port()
        self.spawn(
            ["/usr/bin/python3", "-m", "gunicorn", "-w", str(WORKERS), "-b", f"127.0.0.1:{backend}", "flask_app:app"],
            OMP_NUM_THREADS="1",
            PYTHONDONTWRITEBYTECODE="1",
        )
        wait_for_port(backend)
        self.spawn_nginx("proxy_pass http://backend;", f"server 127.0.0.1:{backend};")
        wait_for_port(self.port)
