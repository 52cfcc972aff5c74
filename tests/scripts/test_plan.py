"""How scripts/serve reads an operator's nginx.conf, and when it makes a copy of it."""

import os

import plan
import pytest
from nginx_conf import ConfError, NginxConf

COMPLETE = """
events {}
http {
    access_log off;
    client_body_temp_path tmp/a; proxy_temp_path tmp/b; fastcgi_temp_path tmp/c; uwsgi_temp_path tmp/d; scgi_temp_path tmp/e;
    sonogate_pool main { socket run/main.sock; }
    server { listen 8080; }
}
"""


def conf(tmp_path, text, name="nginx.conf"):
    path = tmp_path / "operator" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def make(tmp_path, text, port=None):
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return plan.Plan(conf(tmp_path, text), str(state), port)


def test_pools_are_found_past_comments_quotes_and_includes(tmp_path):
    conf(tmp_path, "sonogate_pool second { queue 5 timeout=1s; socket /run/x/y.sock; }", "pool.inc")
    path = conf(tmp_path, r"""
        # sonogate_pool no { socket run/no.sock; }
        http {
            log_format a 'sonogate_pool no { socket run/no.sock; }' "};{" \{;
            sonogate_pool "main" { socket "run/my main.sock"; }
            include *.inc;
            set $x ${y}z;
        }
    """)
    assert [(p.name, p.socket) for p in NginxConf(path).pools()] == [
        ("main", "run/my main.sock"), ("second", "/run/x/y.sock")]  # fmt: skip


@pytest.mark.parametrize("text", ["http {", "http { } }", "http { listen 80 }", "{ }", "http \"a"])
def test_a_broken_file_is_told_with_its_name(tmp_path, text):
    with pytest.raises(ConfError, match="nginx.conf"):
        NginxConf(conf(tmp_path, text))


def test_includes_that_go_round_end(tmp_path):
    with pytest.raises(ConfError, match="nested"):
        NginxConf(conf(tmp_path, "include nginx.conf;"))


@pytest.mark.parametrize(
    ("word", "host", "port"),
    [("8080", "", 8080), ("*:81", "", 81), ("127.0.0.1:82", "127.0.0.1", 82), ("[::1]:83", "::1", 83), ("localhost", "localhost", 80)],
)
def test_a_listen_is_an_address_and_a_port(tmp_path, word, host, port):
    (listen,) = NginxConf(conf(tmp_path, f"http {{ server {{ listen {word} ssl; listen unix:x; }} }}")).listens()
    assert (listen.host, listen.port, listen.tls, listen.plain) == (host, port, True, False)


def test_a_complete_file_is_used_as_it_stands(tmp_path):
    made = make(tmp_path, COMPLETE, 8080)
    assert made.write() == made.conf.path
    assert made.globals() == "daemon off; pid run/nginx.pid;"


def test_a_copy_keeps_every_line_where_it_was(tmp_path):
    made = make(tmp_path, "events {}\nhttp {\n  # here\n  server {\n    listen 127.0.0.1:8080 reuseport;\n  }\n}\n", 9001)
    lines = open(made.write(), encoding="ascii").read().splitlines()
    assert lines[4] == "    listen 127.0.0.1:9001 reuseport;"
    assert lines[1].startswith("http { access_log logs/access.log;")
    assert lines[2] == "  # here"
    assert made.probe()[0] == "http://127.0.0.1:9001/"


def test_a_copy_stands_among_the_neighbours_of_the_file(tmp_path):
    conf(tmp_path, "secret", "keys")
    made = make(tmp_path, COMPLETE, 9001)
    copy = made.write()
    assert open(os.path.join(os.path.dirname(copy), "keys"), encoding="ascii").read() == "secret"
    os.unlink(tmp_path / "operator/keys")
    made.write()
    assert not os.path.lexists(os.path.join(os.path.dirname(copy), "keys"))


def test_a_listen_without_a_port_gets_one(tmp_path):
    made = make(tmp_path, COMPLETE.replace("8080", "localhost"), 9001)
    assert "listen localhost:9001;" in open(made.write(), encoding="ascii").read()


@pytest.mark.parametrize(
    ("listens", "port", "result"),
    [("listen 1111; listen [::]:1111;", 9001, [9001]), ("listen 8080; listen 8443 ssl;", 9001, [8443, 9001])],
)
def test_port_replaces_the_only_one_or_8080(tmp_path, listens, port, result):
    assert make(tmp_path, COMPLETE.replace("listen 8080;", listens), port).ports == result


@pytest.mark.parametrize("listens", ["", "listen unix:x;", "listen 1111; listen 2222;", "listen 8080; listen 9001;"])
def test_port_is_refused_where_it_is_not_clear(tmp_path, listens):
    with pytest.raises(ConfError, match="--port 9001"):
        make(tmp_path, COMPLETE.replace("listen 8080;", listens), 9001)


def test_a_pid_outside_the_state_folder_is_moved_inside(tmp_path):
    made = make(tmp_path, "pid /run/nginx.pid; daemon on;" + COMPLETE)
    text = open(made.write(), encoding="ascii").read()
    assert text.startswith("pid run/nginx.pid; daemon off;")
    assert made.globals() == ""


def test_the_probe_prefers_what_speaks_plain_http(tmp_path):
    made = make(tmp_path, COMPLETE.replace("listen 8080;", "listen 81 ssl; listen 82 http2; listen 83;"))
    assert made.probe()[0] == "http://127.0.0.1:83/"
