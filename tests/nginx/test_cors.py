"""CORS: which pages may read which answers, on every answer there is."""

import httpx
import pytest

from contract import assert_job_answer, assert_problem
from raw_http import RawConnection
from served import Served, free_port, reachable_folder, virtual
from sounds import tone, wav

APP = "https://app.example.com"
SOUND = wav(tone(seconds=0.2))
LISTED = f"sonogate_cors {APP} https://*.example.org http://localhost:5173 null;"

SERVERS = (
    "limit_req_zone $server_name zone=once:1m rate=1r/m;"
    + virtual("listed", LISTED)
    + virtual("star", "sonogate_cors *;")
    + virtual("creds", f"sonogate_cors {APP} credentials private_network max_age=10m headers=X-Mine expose=X-Yours;")
    + virtual("lines", f"sonogate_cors {APP}; sonogate_cors https://b.example.com credentials;")
    + virtual("child", LISTED, "sonogate_cors https://only.example.net;")
    + virtual("quiet", LISTED, "sonogate_cors off;")
    + virtual("none")
    + virtual("keyed", LISTED, "sonogate_keys keys; limit_req_status 429;")
    + virtual("shut", LISTED, "deny all;")
    + virtual("except", LISTED, "limit_except POST { deny all; }")
    + virtual("basic", LISTED, "auth_basic closed; auth_basic_user_file keys;")
    + virtual("limited", LISTED, "limit_req zone=once; limit_req_status 429;")
    + virtual("returns", LISTED, "if ($arg_fail) { return 500; }")
    + virtual("small", LISTED, "sonogate_max_body 1k; client_body_timeout 1s;")
    + virtual("pages", f"{LISTED} error_page 403 404 405 /page.html; location = /page.html {{ return 200 sorry; }}", "deny 127.0.0.2;")
    + virtual("large", f"{LISTED} error_page 413 /413.html; location = /413.html {{ return 200 large; }}", "sonogate_max_body 100;")
    + virtual("named", f"{LISTED} error_page 404 = @named; location @named {{ return 410 gone; }}")
    + virtual("moved", f"{LISTED} error_page 404 = /other/health; location /other/ {{ rewrite ^/other(/.*) $1 break; sonogate_pass main; sonogate_cors *; }}")
    + virtual("added", f"{LISTED} add_header Access-Control-Allow-Origin https://operator.example always; add_header Vary 'Accept, origin' always;")
    + "server { listen 127.0.0.1:8080; server_name static; " + LISTED + " location / { return 200 here; } }\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    folder = reachable_folder(tmp_path_factory, "cors")
    (folder / "keys").write_text("")
    h2_port = free_port()
    served = Served(folder, http=SERVERS + f"server {{ listen 127.0.0.1:{h2_port} http2; {LISTED} location / {{ sonogate_pass main; }} }}")
    served.h2_base = f"http://127.0.0.1:{h2_port}"
    try:
        yield served.start()
    finally:
        served.stop()


def ask(server, host, origin=APP, path="/v1/analyze", method="POST", **headers):
    sent = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    if origin is not None:
        sent["Origin"] = origin
    return server.request(method, path, headers=sent, data=SOUND if method == "POST" else None)


def preflight(server, host, origin=APP, path="/v1/analyze", method="POST", **headers):
    return ask(server, host, origin, path, "OPTIONS", Access_Control_Request_Method=method, Access_Control_Request_Headers="authorization", **headers)


def varies(answer):
    return "origin" in [word.strip().lower() for word in answer.headers.get("Vary", "").split(",")]


def assert_readable(answer, origin=APP):
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert varies(answer)
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"X-Request-Id", "Server-Timing", "Cache-Status", "Retry-After", "RateLimit", "RateLimit-Policy", "ETag", "Location"} <= set(exposed)


def assert_unreadable(answer):
    assert not [name for name in answer.headers if name.lower().startswith("access-control")], answer.headers


# ---- whose pages


@pytest.mark.parametrize("origin", [APP, "https://a.example.org", "https://a.b.example.org", "http://localhost:5173", "null"])
def test_a_listed_origin_reads_the_answer(gate, origin):
    answer = ask(gate, "listed", origin)
    assert_job_answer(answer, "analyze")
    assert_readable(answer, origin)
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert preflight(gate, "listed", origin).headers["Access-Control-Allow-Origin"] == origin


TRICKS = ["https://evil.com", "http://app.example.com", "https://app.example.com:8443", "https://app.example.com.evil.com", "https://evilapp.example.com",
          "https://evilexample.org", "https://a.example.org.evil.com", "https://example.org", "https://.example.org", "http://a.example.org",
          "https://a.example.org:8443", "https://APP.EXAMPLE.COM", "https://evil.com/.example.org", "https://evil.com#.example.org", "http://localhost",
          "http://localhost:51730", f"{APP}/", f"{APP} {APP}", "*", "", "NULL", "file://"]  # fmt: skip


@pytest.mark.parametrize("origin", TRICKS)
def test_any_other_origin_is_answered_but_reads_nothing(gate, origin):
    """The page of our own host sends its Origin too, and needs no header; so the request itself is done."""
    answer = ask(gate, "listed", origin)
    assert_job_answer(answer, "analyze")
    assert_unreadable(answer)
    assert varies(answer)


@pytest.mark.parametrize("origin", TRICKS)
def test_a_preflight_of_any_other_origin_is_403(gate, origin):
    answer = preflight(gate, "listed", origin)
    assert_problem(answer, 403, "origin-not-allowed")
    assert_unreadable(answer)
    assert varies(answer)


def test_two_origins_are_none(gate):
    for first, second in ((APP, "https://evil.com"), ("https://evil.com", APP), (APP, APP)):
        with RawConnection(gate.port) as connection:
            connection.send(f"GET /v1/nothing HTTP/1.1\r\nHost: listed\r\nOrigin: {first}\r\nOrigin: {second}\r\n\r\n".encode())
            answer = connection.answer()
        assert answer.status_code == 404
        assert "access-control-allow-origin" not in answer.headers


def test_an_answer_varies_without_an_origin_too(gate):
    answer = ask(gate, "listed", None)
    assert_unreadable(answer)
    assert varies(answer)


def test_a_star_is_the_same_for_everybody(gate):
    for origin in (None, "https://anybody.example", "null"):
        answer = ask(gate, "star", origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert not varies(answer)
    answer = preflight(gate, "star", "https://anybody.example")
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_without_the_directive_nothing_is_told(gate):
    for host in ("none", "quiet", "static"):
        answer = ask(gate, host)
        assert_unreadable(answer)
        assert "Vary" not in answer.headers
    assert_problem(preflight(gate, "none"), 405, "method-not-allowed")


def test_a_location_has_its_own_list_or_its_servers(gate):
    assert_unreadable(ask(gate, "child"))
    assert_readable(ask(gate, "child", "https://only.example.net"), "https://only.example.net")
    assert_readable(ask(gate, "limited", path="/health", method="GET"))


def test_lines_add_up(gate):
    for origin in (APP, "https://b.example.com"):
        assert ask(gate, "lines", origin).headers["Access-Control-Allow-Credentials"] == "true"


# ---- the preflight


@pytest.mark.parametrize(("path", "methods"), [("/v1/analyze", {"POST"}), ("/v1/tracks", {"GET", "HEAD", "POST"}),
                                               ("/v1/tracks/x", {"GET", "HEAD", "PATCH", "DELETE"}), ("/v1/nothing", {"GET", "POST", "PATCH", "DELETE"})])  # fmt: skip
def test_a_preflight_is_204_with_the_methods_of_its_path(gate, path, methods):
    answer = preflight(gate, "listed", path=path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert methods <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert {"Authorization", "Content-Type", "X-Request-Id", "traceparent"} <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert answer.headers["Access-Control-Max-Age"] == "7200"
    assert "Access-Control-Expose-Headers" not in answer.headers
    assert "Access-Control-Allow-Private-Network" not in answer.headers
    assert answer.headers["X-Request-Id"] and varies(answer)


@pytest.mark.parametrize("host", ["keyed", "shut", "basic", "except"])
def test_a_preflight_needs_no_key_password_or_address(gate, host):
    assert preflight(gate, host).status_code == 204
    refused = ask(gate, host, path="/v1/tracks", method="GET")
    assert refused.status_code in (401, 403)
    assert_readable(refused)


def test_options_without_the_request_method_is_no_preflight(gate):
    assert_problem(ask(gate, "listed", method="OPTIONS"), 405, "method-not-allowed")
    assert_problem(ask(gate, "listed", None, method="OPTIONS", Access_Control_Request_Method="POST"), 405)


def test_the_settings_of_the_line_are_told(gate):
    answer = preflight(gate, "creds", Access_Control_Request_Private_Network="true")
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert answer.headers["Access-Control-Allow-Headers"].endswith(", X-Mine")
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"
    assert "Access-Control-Allow-Private-Network" not in preflight(gate, "creds").headers
    assert "Access-Control-Allow-Private-Network" not in preflight(gate, "listed", Access_Control_Request_Private_Network="true").headers
    answer = ask(gate, "creds")
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Expose-Headers"].endswith(", X-Yours")
    assert_unreadable(ask(gate, "creds", "https://evil.com"))


def test_a_connection_goes_on_after_a_preflight_with_a_body(gate):
    head = f"OPTIONS /v1/analyze HTTP/1.1\r\nHost: listed\r\nOrigin: {APP}\r\nAccess-Control-Request-Method: POST\r\nContent-Length: 5\r\n\r\nhello"
    with RawConnection(gate.port) as connection:
        connection.send((head * 3).encode())
        assert [connection.answer().status_code for _ in range(3)] == [204] * 3


# ---- on every answer


def test_refusals_of_ours_are_readable(gate):
    for path, method, status in (("/v1/nothing", "GET", 404), ("/v1/analyze", "GET", 405), ("/v1/tracks/none", "GET", 404), ("/health", "GET", 200)):
        answer = ask(gate, "listed", path=path, method=method)
        assert answer.status_code == status
        assert_readable(answer)
    answer = gate.request("POST", "/v1/analyze", headers={"Host": "listed", "Origin": APP}, data=b"nothing that can be heard")
    assert_problem(answer, 415)
    assert_readable(answer)


@pytest.mark.parametrize(("host", "status", "kind"), [("keyed", 401, "unauthenticated"), ("basic", 401, "unauthenticated"), ("shut", 403, "forbidden"), ("small", 413, "body-too-large")])
def test_refusals_of_nginx_are_readable(gate, host, status, kind):
    answer = ask(gate, host)
    assert_problem(answer, status, kind)
    assert_readable(answer)


def test_the_429_of_limit_req_is_readable(gate):
    answers = [ask(gate, "limited") for _ in range(2)]
    assert_problem(answers[-1], 429, "rate-limited")
    assert_readable(answers[-1])


def test_a_status_that_a_location_returns_is_readable(gate):
    answer = ask(gate, "returns", path="/v1/analyze?fail=1")
    assert_problem(answer, 500, "internal")
    assert_readable(answer)


def test_a_body_that_does_not_come_or_is_no_body_is_told_readably(gate):
    for head, body, status in (("Content-Length: 500", b"x", 408), ("Transfer-Encoding: chunked", b"zz\r\n", 400), ("Transfer-Encoding: chunked", b"800\r\n" + b"x" * 2048, 413)):
        with RawConnection(gate.port) as connection:
            connection.send(f"POST /v1/analyze HTTP/1.1\r\nHost: small\r\nOrigin: {APP}\r\n{head}\r\n\r\n".encode() + body)
            answer = connection.answer()
        assert answer.status_code == status, answer
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_error_page_is_as_readable_as_what_it_stands_for(gate):
    answer = ask(gate, "pages", path="/v1/nothing", method="GET")
    assert (answer.status_code, answer.text) == (404, "sorry")
    assert_readable(answer)
    assert_unreadable(ask(gate, "pages", "https://evil.com", path="/v1/nothing", method="GET"))
    answer = ask(gate, "named", path="/v1/nothing", method="GET")
    assert (answer.status_code, answer.text) == (410, "gone")
    assert_readable(answer)


def test_the_error_page_of_a_413_is_readable_too(gate):
    answer = ask(gate, "large")
    assert (answer.status_code, answer.text) == (413, "large")
    assert_readable(answer)


def test_the_first_location_decides_also_where_a_redirect_leads_to_another_of_ours(gate):
    answer = ask(gate, "moved", path="/v1/nothing", method="GET")
    assert answer.json() == {"status": "ok"}
    assert_readable(answer)


def test_what_add_header_set_is_not_doubled(gate):
    answer = ask(gate, "added")
    assert answer.raw.headers.getlist("Access-Control-Allow-Origin") == ["https://operator.example"]
    assert answer.raw.headers.getlist("Vary") == ["Accept, origin"]


def test_a_304_is_readable(gate):
    first = ask(gate, "listed", path="/v1/tracks", method="GET")
    assert_readable(first)
    answer = ask(gate, "listed", path="/v1/tracks", method="GET", If_None_Match=first.headers["ETag"])
    assert answer.status_code == 304
    assert_readable(answer)


def test_http_2_has_them_too(gate):
    with httpx.Client(http2=True, http1=False) as client:
        for method, path, status, extra in (("POST", "/v1/analyze", 200, {}), ("GET", "/v1/nothing", 404, {}), ("OPTIONS", "/v1/analyze", 204, {"Access-Control-Request-Method": "POST"})):
            answer = client.request(method, gate.h2_base + path, headers={"Origin": APP} | extra, content=SOUND if method == "POST" else None)
            assert (answer.http_version, answer.status_code) == ("HTTP/2", status)
            assert answer.headers["access-control-allow-origin"] == APP
            assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-request-id"]
