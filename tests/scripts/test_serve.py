"""scripts/serve as a supervisor: real nginx, and a stand-in for the daemon that only keeps its socket."""

import contextlib
import os
import pathlib
import pwd
import signal
import socket
import stat
import subprocess
import tempfile
import time
import urllib.request

import psutil
import pytest

SERVE = pathlib.Path(__file__).resolve().parents[2] / "scripts/serve"
DAEMON = """#!/usr/bin/python3
import os, socket, sys
assert os.environ["LISTEN_FDS"] == "1" and os.environ["LISTEN_PID"] == str(os.getpid())
listening = socket.socket(fileno=3)
print("up", *sys.argv[1:], flush=True)
while True:
    peer, _ = listening.accept()
    peer.send(str(os.getpid()).encode())
    peer.close()
"""
CONF = """
events {{}}
http {{
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 {text}; }} }}
}}
"""
START_S = 15


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Serve:
    def __init__(self, folder, conf, *arguments, user=None, **environment):
        self.folder = pathlib.Path(folder)
        self.state = self.folder / "state"
        build = self.folder / "build"
        (build / "modules").mkdir(parents=True, exist_ok=True)
        (build / "modules/ngx_http_sonogate_module.so").touch()
        (build / "sonogated").write_text(DAEMON)
        (build / "sonogated").chmod(0o755)
        # `nginx` that drops the blocks it cannot know, so that serve's own reading of them is what is tested.
        (build / "nginx").write_text(NGINX_WITHOUT_POOLS)
        (build / "nginx").chmod(0o755)
        conf_path = self.folder / "nginx.conf"
        conf_path.write_text(conf)
        argv = [str(SERVE), "--state", str(self.state), "--conf", str(conf_path), *arguments]
        if user:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid)
        environment = os.environ | {"SONOGATE_BUILD": str(build), "PATH": f"{build}:{os.environ['PATH']}"} | environment
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            user=user.pw_uid if user else None, group=user.pw_gid if user else None, extra_groups=[] if user else None,
        )  # fmt: skip
        self.said = ""

    def until(self, words):
        deadline = time.monotonic() + START_S
        while words not in self.said:
            line = self.process.stdout.readline()
            self.said += line
            assert line and time.monotonic() < deadline, self.said
        return self

    def ended(self, seconds=15):
        self.said += self.process.communicate(timeout=seconds)[0]
        return self.process.returncode

    def below(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def ask_pool(self, name="run/main.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(10)
            client.connect(str(self.state / name))
            return int(client.recv(64))


NGINX_WITHOUT_POOLS = r"""#!/usr/bin/python3
import os, re, sys
at = sys.argv.index("-c") + 1
text = open(sys.argv[at]).read()
stripped = sys.argv[at] + ".stripped"
with open(stripped, "w") as out:
    out.write(re.sub(r"sonogate_pool \w+ \{[^}]*\}", "", text))
sys.argv[at] = stripped
os.execv("/usr/sbin/nginx", ["nginx", *sys.argv[1:]])
"""
POOL = "sonogate_pool main {{ socket run/main.sock; }}"
WITH_POOL = CONF.replace("server", POOL + " server", 1)


@pytest.fixture
def serve():
    started = []
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)

        def start(conf, *arguments, **options):
            place = pathlib.Path(folder) / str(len(started))
            place.mkdir()
            started.append(Serve(place, conf, *arguments, **options))
            return started[-1]

        yield start
        for server in started:
            if server.process.poll() is None:
                server.process.kill()
                server.process.communicate()


def get(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        return answer.read().decode()


def gone(processes, seconds=5):
    return not psutil.wait_procs(processes, timeout=seconds)[1]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_leaves_no_process_and_no_socket(serve, stop):
    port = free_port()
    server = serve(WITH_POOL.format(port=port, text="hello")).until("serving on")
    assert get(port) == "hello"
    processes = server.below()
    assert len(processes) >= 3
    server.process.send_signal(stop)
    assert server.ended() == 0
    assert gone(processes, 0)
    assert not [p for p in server.state.rglob("*") if stat.S_ISSOCK(p.lstat().st_mode)]
    assert not (server.state / "run/nginx.pid").exists()


def test_nothing_is_left_when_the_supervisor_itself_is_killed(serve):
    server = serve(WITH_POOL.format(port=free_port(), text="hello")).until("serving on")
    processes = server.below()
    server.process.kill()
    assert gone(processes)


def test_a_daemon_that_dies_comes_back_behind_the_same_socket(serve):
    server = serve(WITH_POOL.format(port=free_port(), text="hello")).until("serving on")
    inode = (server.state / "run/main.sock").stat().st_ino
    first = server.ask_pool()
    os.kill(first, signal.SIGKILL)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(first).wait(10)  # until then it may accept once more
    assert server.ask_pool() != first  # no attempt is refused: the supervisor holds the socket
    assert (server.state / "run/main.sock").stat().st_ino == inode
    server.until("pool main ended by signal 9")


def test_a_daemon_that_keeps_dying_is_started_later_and_later(serve):
    server = serve(WITH_POOL.format(port=free_port(), text="hello")).until("serving on")
    daemon = server.ask_pool()
    (server.folder / "build/sonogated").write_text("#!/bin/sh\nexit 3\n")
    os.kill(daemon, signal.SIGKILL)
    for pause in ("0.2", "0.4", "0.8"):
        server.until(f"pool main ended with status 3; starting it again in {pause} s")


def test_an_nginx_that_dies_comes_back(serve):
    port = free_port()
    server = serve(CONF.format(port=port, text="hello")).until("serving on")
    os.kill(int((server.state / "run/nginx.pid").read_text()), signal.SIGKILL)
    server.until("nginx ended by signal 9")
    deadline = time.monotonic() + START_S
    while True:
        try:
            assert get(port) == "hello"
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_two_run_side_by_side_and_one_folder_is_served_once(serve):
    ports = free_port(), free_port()
    servers = [serve(WITH_POOL.format(port=8080, text=f"s{port}"), "--port", str(port)) for port in ports]
    for server, port in zip(servers, ports):
        server.until("serving on")
        assert get(port) == f"s{port}"
    again = subprocess.run(
        [*servers[0].process.args[:-1], str(free_port())], capture_output=True, text=True, check=False,
        env=os.environ | {"SONOGATE_BUILD": str(servers[0].folder / "build")},
    )  # fmt: skip
    assert again.returncode == 1
    assert "is served already" in again.stderr


def test_a_taken_port_is_told(serve):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = serve(CONF.format(port=other.getsockname()[1], text="hello"))
        assert server.ended() == 1
        assert f"port {other.getsockname()[1]} is taken" in server.said


def test_a_refused_configuration_is_told_in_nginx_words_with_the_operators_file(serve):
    server = serve(CONF.format(port=free_port(), text="hello").replace("return", "retrun"), "--port", str(free_port()))
    assert server.ended() == 1
    assert f'unknown directive "retrun" in {server.folder}/nginx.conf' in server.said


def test_sighup_reads_the_file_again_and_a_broken_one_changes_nothing(serve):
    port = free_port()
    server = serve(CONF.format(port=8080, text="old"), "--port", str(port)).until("serving on")
    conf = server.folder / "nginx.conf"
    conf.write_text("http {")
    server.process.send_signal(signal.SIGHUP)
    server.until("not reloaded")
    assert get(port) == "old"
    conf.write_text(CONF.format(port=8080, text="new"))
    server.process.send_signal(signal.SIGHUP)
    server.until("sonogate: reloading")
    deadline = time.monotonic() + START_S
    while get(port) != "new":
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_can_serve(serve):
    port = free_port()
    server = serve(WITH_POOL.format(port=port, text="hello"), user=pwd.getpwnam("nobody")).until("serving on")
    assert get(port) == "hello"
    server.process.terminate()
    assert server.ended() == 0
    assert "[emerg]" not in (server.state / "logs/error.log").read_text()
