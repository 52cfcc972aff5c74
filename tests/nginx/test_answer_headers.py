"""Hosts, security headers, request ids, traces, and what stays as it is where nothing of ours is said."""

import os
import subprocess

import pytest
import requests

from contract import REQUEST_ID, assert_job_answer, assert_problem
from raw_http import RawConnection
from served import BUILD, Served, free_port, make_certificate, reachable_folder, virtual, wait_until
from sounds import tone, wav

SOUND = wav(tone(seconds=0.2))
API = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-XSS-Protection": "0",
}
ALL = [*API, "Cross-Origin-Embedder-Policy", "Strict-Transport-Security"]

SERVERS = (
    "server { listen 127.0.0.1:8080; server_name ~^(a\\.)?(api\\.example\\.com|example\\.org|evil.*|localhosts|\\d.*|\\[.*)$ 127.0.0.9;"
    + " sonogate_hosts API.example.com *.example.org 192.0.2.1 [::1]; location / { sonogate_pass main; } location /free/ { sonogate_hosts off; rewrite ^/free(/.*) $1 break; sonogate_pass main; } }\n"
    + virtual("api")
    + virtual("off", "", "sonogate_security_headers off;")
    + virtual("inherit", "sonogate_security_headers page; location /static { return 200 page; }", "sonogate_security_headers api;")
    + virtual("pages", "error_page 404 /404.html; error_page 405 /405.html; location = /404.html { return 200 sorry; }"
              " location = /405.html { sonogate_security_headers page; return 200 sorry; }")
    + virtual("added", "", "add_header X-Frame-Options SAMEORIGIN always; add_header content-security-policy \"default-src 'self'\" always; add_header X-Request-Id mine always;")
    + "log_format traced '$request_uri=$sonogate_trace_id=$sonogate_request_id='; access_log logs/traced.log traced;"
    + "server { listen 127.0.0.1:8080; server_name static; location / { return 200 here; } }\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    folder = reachable_folder(tmp_path_factory, "headers")
    make_certificate(folder)
    (folder / "keys").write_text("me 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b roles=analyze\n")  # of "secret"
    plain, asking = free_port(), free_port()
    tls = "ssl_certificate tls.crt; ssl_certificate_key tls.key;"
    served = Served(folder, http=SERVERS
                    + f"server {{ listen 127.0.0.1:{plain} ssl; {tls} location / {{ sonogate_pass main; }} }}\n"
                    + f"server {{ listen 127.0.0.1:{asking} ssl; {tls} ssl_verify_client on; ssl_client_certificate tls.crt; location / {{ sonogate_pass main; sonogate_keys keys; }} }}\n")  # fmt: skip
    served.tls, served.tls_asking = f"https://127.0.0.1:{plain}", f"https://127.0.0.1:{asking}"
    served.certificate = (str(folder / "tls.crt"), str(folder / "tls.key"))
    try:
        yield served.start()
    finally:
        served.stop()


def ask(server, host, path="/v1/analyze", method="POST", **headers):
    sent = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, path, headers=sent, data=SOUND if method == "POST" else None)


def security_of(answer):
    return {name: answer.headers[name] for name in ALL if name in answer.headers}


# ---- hosts


@pytest.mark.parametrize("host", ["api.example.com", "API.example.com", "api.example.com:8080", "api.example.com.", "a.example.org", "192.0.2.1", "[::1]"])
def test_a_listed_host_is_served(gate, host):
    assert ask(gate, host).status_code == 200


@pytest.mark.parametrize("host", ["evil.com", "a.api.example.com", "example.org", "evilexample.org", "evil.com:8080", "127.0.0.9", "192.0.2.11", "evil.example.org.evil.com"])
def test_any_other_host_is_421(gate, host):
    assert_problem(ask(gate, host), 421, "unknown-host")


def test_a_request_without_a_host_is_421(serve):
    server = serve(location="sonogate_hosts localhost;")
    with RawConnection(server.port) as connection:
        connection.send(b"GET /v1/nothing HTTP/1.0\r\n\r\n")
        assert connection.answer().status_code == 421
    with RawConnection(server.port) as connection:
        connection.send(b"GET http://localhost/v1/nothing HTTP/1.1\r\nHost: evil.com\r\n\r\n")
        assert connection.answer().status_code == 404


def test_probes_know_no_name(gate):
    for path in ("/health", "/ready"):
        assert ask(gate, "127.0.0.9", path, "GET").status_code == 200
    assert_problem(ask(gate, "127.0.0.9", "/metrics", "GET"), 421, "unknown-host")


def test_hosts_are_inherited_and_switched_off(gate):
    assert ask(gate, "evil.com", "/free/v1/analyze").status_code == 200


# ---- security headers


def test_every_answer_of_the_api_has_the_set(gate):
    for path, method, status in (("/v1/analyze", "POST", 200), ("/v1/nothing", "GET", 404), ("/health", "GET", 200), ("/v1/analyze", "GET", 405), ("/v1/tracks", "GET", 200)):
        answer = ask(gate, "api", path, method)
        assert answer.status_code == status
        assert security_of(answer) == API
        assert all(len(answer.raw.headers.getlist(name)) == 1 for name in API)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_transport_security_is_said_on_tls_alone(gate):
    answer = requests.get(gate.tls + "/health", verify=False, timeout=20)
    assert security_of(answer) == API | {"Strict-Transport-Security": "max-age=31536000"}


def test_off_is_none_and_a_location_without_the_api_has_none(gate):
    assert security_of(ask(gate, "off")) == {}
    assert security_of(ask(gate, "static", "/", "GET")) == {}


def test_page_is_for_locations_without_the_api_too(gate):
    answer = ask(gate, "inherit", "/static", "GET")
    told = security_of(answer)
    assert answer.text == "page"
    assert set(told) == set(API) | {"Cross-Origin-Embedder-Policy"}
    assert "default-src 'self'" in told["Content-Security-Policy"] and "frame-ancestors 'none'" in told["Content-Security-Policy"]
    assert security_of(ask(gate, "inherit")) == API


def test_an_error_page_has_its_own_set_or_that_of_the_api(gate):
    assert security_of(ask(gate, "pages", "/v1/nothing", "GET")) == API
    answer = ask(gate, "pages", "/v1/analyze", "GET")
    assert answer.text == "sorry"
    assert "default-src 'self'" in security_of(answer)["Content-Security-Policy"]


def test_what_add_header_set_is_neither_doubled_nor_changed(gate):
    for path, method in (("/v1/analyze", "POST"), ("/v1/nothing", "GET")):
        answer = ask(gate, "added", path, method)
        assert answer.raw.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]
        assert answer.raw.headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
        assert answer.raw.headers.getlist("X-Request-Id") == ["mine"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"


# ---- client certificates


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_a_certificate_and_a_key_are_both_asked_for(gate):
    def analyze(certificate, key):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return requests.post(gate.tls_asking + "/v1/analyze", data=SOUND, headers=headers, cert=certificate, verify=False, timeout=20)

    assert analyze(None, "secret").status_code == 400
    assert_problem(analyze(gate.certificate, None), 401, "unauthenticated")
    assert_job_answer(analyze(gate.certificate, "secret"), "analyze")


# ---- what a job's answer tells


def test_answers_of_jobs_tell_their_stages_and_the_cache(gate):
    for path, method in (("/v1/analyze", "POST"), ("/v1/tracks", "GET")):
        answer = ask(gate, "api", path, method)
        assert [one.split(";")[0].strip() for one in answer.headers["Server-Timing"].split(",")] == ["queue", "decode", "compute", "search"]
        assert all(float(one.split("dur=")[1]) >= 0 for one in answer.headers["Server-Timing"].split(","))
        assert answer.headers["Cache-Status"] == "sonogate; fwd=miss"


@pytest.mark.parametrize("path", ["/v1/tracks", "/health", "/ready", "/metrics"])
def test_a_get_has_an_etag_and_honours_if_none_match(gate, path):
    first = ask(gate, "api", path, "GET")
    etag = first.headers["ETag"]
    assert etag.startswith('"') and etag.endswith('"')
    if path in ("/metrics", "/ready"):
        return  # the numbers in it move
    assert ask(gate, "api", path, "HEAD").headers["ETag"] == etag
    for sent in (etag, f'"other", {etag}', "W/" + etag, "*"):
        answer = ask(gate, "api", path, "GET", If_None_Match=sent)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == etag and answer.headers["X-Request-Id"]
    assert ask(gate, "api", path, "GET", If_None_Match='"other"').status_code == 200


def test_a_post_has_none_and_is_not_changed_by_one(gate):
    for headers in ({"If_None_Match": "*"}, {"If_Match": '"x"'}):
        answer = ask(gate, "api", **headers)
        assert_job_answer(answer, "analyze")


# ---- request ids and traces

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
GOOD = [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00", f"cc-{TRACE}-{PARENT}-01-what-the-future-adds", f"cc-{TRACE}-{PARENT}-01"]
BAD = [f"00-{TRACE}-{PARENT}", f"00-{TRACE}-{PARENT}-1", f"00-{TRACE}-{PARENT}-01-x", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
       f"00-{TRACE.upper()}-{PARENT}-01", f"00-{TRACE[1:]}-{PARENT}-01", f"00-{TRACE}x-{PARENT}-01", "", "x", f"00_{TRACE}_{PARENT}_01", f"cc-{TRACE}-{PARENT}-01x"]  # fmt: skip


def traced(server, uri):
    """Its line of the access log, which nginx writes when the answer has gone."""

    def line():
        with open(os.path.join(server.state, "logs/traced.log"), encoding="ascii") as file:
            return next((line.split("=") for line in file if line.startswith(uri + "=")), None)

    return wait_until(line)


@pytest.mark.parametrize("sent", GOOD + BAD)
def test_a_traceparent_is_known_to_the_log_where_it_is_one(gate, sent):
    number = (GOOD + BAD).index(sent)
    answer = ask(gate, "api", f"/health?trace{number}", "GET", traceparent=sent)
    assert answer.status_code == 200
    _, trace, request_id, _ = traced(gate, f"/health?trace{number}")
    assert trace == (TRACE if sent in GOOD else "-")
    assert request_id == answer.headers["X-Request-Id"]
    assert REQUEST_ID.fullmatch(request_id)


def test_a_refusal_is_logged_with_its_trace(gate):
    answer = ask(gate, "api", "/v1/nothing", "GET", traceparent=GOOD[0])
    (line,) = [line for line in gate.error_log().splitlines() if answer.headers["X-Request-Id"] in line]
    assert TRACE in line


# ---- elsewhere


def test_a_server_with_nothing_of_ours_answers_as_without_the_module(tmp_path_factory):
    """The same file twice, once with the module loaded: every answer is the same."""
    answers = []
    for module in ("", "load_module modules/ngx_http_sonogate_module.so;"):
        folder = reachable_folder(tmp_path_factory, "elsewhere")
        answers.append(answers_of_plain_nginx(folder, module))
    assert answers[0] == answers[1]
    assert [one[0] for one in answers[0]][:3] == [200, 404, 405]


def answers_of_plain_nginx(folder, module):
    for name in ("modules", "html"):
        os.makedirs(folder / name)
    os.symlink(os.path.join(BUILD, "modules/ngx_http_sonogate_module.so"), folder / "modules/ngx_http_sonogate_module.so")
    (folder / "html/index.html").write_text("plain")
    os.utime(folder / "html/index.html", (1e9, 1e9))
    port = free_port()
    (folder / "nginx.conf").write_text(
        f"{module}\nworker_processes 1; pid nginx.pid; error_log error.log; daemon off; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path body; server {{ listen 127.0.0.1:{port}; client_max_body_size 10; error_page 403 /403.html;"
        " location / { root html; } location /moved { return 301 /; } location /gone { return 410; } location /closed { deny all; }"
        f" location /asked {{ auth_basic x; auth_basic_user_file none; }} location /proxied {{ proxy_pass http://127.0.0.1:{port}/; }} add_header X-A b; }} }}\n"
    )
    nginx = subprocess.Popen(["nginx", "-p", folder, "-e", "error.log", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}"

        def is_up():
            try:
                return requests.get(base, timeout=5)
            except requests.ConnectionError:
                return None

        wait_until(is_up)
        out = []
        for method, path, body in (
            ("GET", "/", None), ("GET", "/nothing", None), ("POST", "/", b"x"), ("OPTIONS", "/", None), ("HEAD", "/", None), ("POST", "/", b"x" * 11), ("GET", "/moved", None),
            ("GET", "/gone", None), ("GET", "/closed", None), ("GET", "/asked", None), ("GET", "/proxied", None), ("GET", "/v1/analyze", None), ("DELETE", "/health", None),
        ):  # fmt: skip
            headers = {"Origin": "https://a.example.com", "Access-Control-Request-Method": "POST", "X-Request-Id": "x", "Authorization": "Bearer x", "If-None-Match": "*" if method == "HEAD" else '"x"'}
            answer = requests.request(method, base + path, data=body, headers=headers, allow_redirects=False, timeout=20)
            told = sorted((name, value.replace(str(port), "PORT")) for name, value in answer.headers.items() if name != "Date")
            out.append((answer.status_code, told, answer.content))
        return out
    finally:
        nginx.terminate()
        nginx.wait(20)
