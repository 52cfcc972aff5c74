"""What nginx refuses before any phase of ours: without a location, or what one returns. Headers and problems are there too."""

import itertools
import ssl

import pytest

import http2
from contract import assert_problem
from raw_http import RawConnection
from served import Served, free_port, make_certificate, reachable_folder, wait_until

APP = "https://app.example.com"
CORS = f"sonogate_cors {APP};"
SECURITY = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "content-security-policy": "default-src 'none'; frame-ancestors 'none'"}

HEAD = b"GET /v1/tracks HTTP/1.1\r\n"
ORIGIN = b"Origin: " + APP.encode() + b"\r\n"
WITH_ORIGIN = {
    "a broken header line": HEAD + b"Host: x\r\n" + ORIGIN + b"no colon in\x00 this\r\n\r\n",
    "no host": HEAD + ORIGIN + b"\r\n",
    "two hosts": HEAD + ORIGIN + b"Host: x\r\nHost: y\r\n\r\n",
    "a length that is none": b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\n" + ORIGIN + b"Content-Length: many\r\n\r\n",
    "a header beyond all buffers": HEAD + b"Host: x\r\n" + ORIGIN + b"Cookie: " + b"x" * 40_000 + b"\r\n\r\n",
}
WITHOUT_ORIGIN = {
    "no request line": (b"no http at all\r\n\r\n", 400),
    "a path above the root": (b"GET /../.. HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a line beyond all buffers": (b"GET /v1/tracks?q=" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a version of the future": (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
}

GET, SCHEME, PATH, AUTHORITY, H2_ORIGIN = (":method", "GET"), (":scheme", "http"), (":path", "/v1/tracks"), (":authority", "x"), ("origin", APP)
# nginx answers at the first header that it cannot take: what comes before the origin leaves it unread.
OVER_HTTP_2 = {
    "an authority that is none": ([GET, SCHEME, PATH, (":authority", "a b"), H2_ORIGIN], False),
    "no authority": ([GET, SCHEME, PATH, H2_ORIGIN], True),
    "a host beside another authority": ([GET, SCHEME, PATH, AUTHORITY, H2_ORIGIN, ("host", "y")], True),
    "a length that is none": ([(":method", "POST"), SCHEME, PATH, AUTHORITY, H2_ORIGIN, ("content-length", "x")], True),
    "a path that is none": ([GET, SCHEME, (":path", "tracks"), AUTHORITY, H2_ORIGIN], False),
}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    ports = {name: free_port() for name in ("mixed", "plain", "pages", "own", "h2", "h2-plain", "h2-pages", "tls", "shut", "closed")}
    pages = "error_page 413 /413.html; error_page 400 = /400.html; location ~ html { return 200 page; }"
    folder = reachable_folder(tmp_path_factory, "early")
    make_certificate(folder)
    served = Served(
        folder,
        location=CORS,
        http=f"""
            server {{ listen 127.0.0.1:{ports["h2"]} http2; location / {{ sonogate_pass main; {CORS} }} }}
            server {{ listen 127.0.0.1:{ports["h2-plain"]} http2; location / {{ return 200 site; }} }}
            server {{ listen 127.0.0.1:{ports["tls"]} ssl http2; ssl_certificate tls.crt; ssl_certificate_key tls.key; ssl_verify_client on;
                      ssl_client_certificate tls.crt; location / {{ sonogate_pass main; {CORS} }} }}
            server {{ listen 127.0.0.1:{ports["mixed"]}; location / {{ return 200 site; }} location /v1/ {{ sonogate_pass main; {CORS} }} }}
            server {{ listen 127.0.0.1:{ports["shut"]}; {CORS} sonogate_security_headers api; return 503; location / {{ sonogate_pass main; }} }}
            server {{ listen 127.0.0.1:{ports["closed"]}; {CORS} location / {{ sonogate_pass main; if ($request_method != OPTIONS) {{ return 503; }} }}
                      location = /health {{ sonogate_pass main; }} }}
            server {{ listen 127.0.0.1:{ports["plain"]}; location / {{ return 200 site; }} }}
            server {{ listen 127.0.0.1:{ports["pages"]}; listen 127.0.0.1:{ports["h2-pages"]} http2; {pages} location / {{ return 404; }} client_max_body_size 100;
                      location /v1/ {{ sonogate_pass main; sonogate_max_body 100; {CORS}
                                       error_page 413 @large; location /v1/fingerprint {{ sonogate_pass main; error_page 413 = /413.html; }} }}
                      location @large {{ return 410 gone; }} location = /v1/monitor {{ sonogate_pass main; return 400; }} }}
            server {{ listen 127.0.0.1:{ports["own"]}; {pages} sonogate_cors https://own.example.com; sonogate_security_headers page; location / {{ return 200 site; }} }}
        """,
    )
    served.ports = ports | {"api": served.port}
    try:
        yield served.start()
    finally:
        served.stop()


def ask(gate, server, raw):
    with RawConnection(gate.ports[server]) as connection:
        connection.send(raw)
        return connection.answer()


def large(gate, server, path, origin=APP):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nContent-Length: 101\r\n\r\n"
    return ask(gate, server, head.encode() + b"x" * 101)


def assert_secure(answer):
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert answer.headers["x-request-id"]


def assert_readable(answer):
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["vary"] == "Origin"
    assert_secure(answer)


def assert_early_problem(answer, status):
    answer.headers = {"-".join(word.capitalize() for word in name.split("-")): value for name, value in answer.headers.items()}
    answer.text = answer.content.decode()
    assert_problem(answer, status)


@pytest.mark.parametrize("server", ["api", "mixed"])
@pytest.mark.parametrize("sent", WITH_ORIGIN.values(), ids=WITH_ORIGIN)
def test_an_error_without_a_location_is_a_problem_that_the_page_may_read(gate, server, sent):
    answer = ask(gate, server, sent)
    assert_readable(answer)
    assert_early_problem(answer, 400)


@pytest.mark.parametrize(("sent", "status"), WITHOUT_ORIGIN.values(), ids=WITHOUT_ORIGIN)
def test_an_error_before_the_origin_was_read_has_all_that_does_not_depend_on_it(gate, sent, status):
    answer = ask(gate, "api", sent)
    assert_secure(answer)
    assert answer.headers["vary"] == "Origin"
    assert_early_problem(answer, status)


@pytest.mark.parametrize(("head", "origin_read"), OVER_HTTP_2.values(), ids=OVER_HTTP_2)
def test_over_http_2_it_is_the_same(gate, head, origin_read):
    answer = http2.exchange(gate.ports["h2"], head)
    assert answer.headers.get("access-control-allow-origin") == (APP if origin_read else None)
    assert answer.headers["vary"] == "Origin"
    assert_secure(answer)
    assert_early_problem(answer, 400)


@pytest.mark.parametrize("alpn", [[], ["h2"]], ids=["http/1.1", "h2"])
def test_a_client_without_the_certificate_that_is_asked_for_may_read_why(gate, alpn):
    tls = ssl.create_default_context(cafile=f"{gate.folder}/tls.crt")
    tls.check_hostname = False
    if alpn:
        answer = http2.exchange(gate.ports["tls"], [GET, (":scheme", "https"), PATH, AUTHORITY, H2_ORIGIN], tls=tls)
    else:
        with RawConnection(gate.ports["tls"], tls=tls) as connection:
            connection.send(HEAD + b"Host: x\r\n" + ORIGIN + b"\r\n")
            answer = connection.answer()
    assert_readable(answer)
    assert_early_problem(answer, 400)


def test_over_http_2_too_a_server_without_the_api_answers_as_before_and_a_page_takes_over(gate):
    for head, _ in OVER_HTTP_2.values():
        answer = http2.exchange(gate.ports["h2-plain"], head)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html")
        assert not {"x-request-id", "vary", "access-control-allow-origin", *SECURITY} & set(answer.headers)
    answer = http2.exchange(gate.ports["h2-pages"], OVER_HTTP_2["no authority"][0])
    assert answer.content == b"page"
    assert_readable(answer)


def test_it_has_its_line_in_the_log(gate):
    ids = (f"early-{number}" for number in itertools.count())

    def is_logged():  # of a flood, as the other tests are, only ten lines a second are
        sent = next(ids)
        answer = ask(gate, "api", HEAD + f"X-Request-Id: {sent}\r\n\r\n".encode())
        assert answer.headers["x-request-id"] == sent
        return f"{sent}: malformed-request" in gate.error_log()

    wait_until(is_logged)


@pytest.mark.parametrize("sent", [*WITH_ORIGIN.values(), *(sent for sent, _ in WITHOUT_ORIGIN.values())])
def test_a_server_without_the_api_answers_as_before(gate, sent):
    answer = ask(gate, "plain", sent)
    assert answer.headers["content-type"] == "text/html"
    assert not {"x-request-id", "vary", "access-control-allow-origin", *SECURITY} & set(answer.headers)


@pytest.mark.parametrize(("path", "status", "body"), [("/v1/analyze", 413, b"gone"), ("/v1/fingerprint?peaks=1", 200, b"page")])
def test_a_page_that_takes_a_413_over_is_as_readable(gate, path, status, body):
    answer = large(gate, "pages", path)
    assert (answer.status_code, answer.content) == (status, body)
    assert_readable(answer)
    answer = large(gate, "pages", path, "https://evil.com")
    assert "access-control-allow-origin" not in answer.headers
    assert_secure(answer)


def test_a_page_that_takes_what_a_location_returns_over_has_the_first_locations_headers(gate):
    answer = ask(gate, "pages", HEAD.replace(b"tracks", b"monitor") + b"Host: x\r\n" + ORIGIN + b"\r\n")
    assert answer.content == b"page"
    assert_readable(answer)


def test_a_page_that_takes_an_error_without_a_location_over_is_as_readable(gate):
    answer = ask(gate, "pages", WITH_ORIGIN["two hosts"])
    assert answer.content == b"page"
    assert_readable(answer)


def test_the_page_of_another_locations_413_is_none_of_ours(gate):
    answer = large(gate, "pages", "/upload")
    assert answer.content == b"page"
    assert not {"x-request-id", "vary", *SECURITY} & set(answer.headers)


def test_what_a_server_returns_for_all_is_its_own_and_what_a_location_returns_is_the_apis(gate):
    shut, closed = (ask(gate, name, HEAD + b"Host: x\r\n" + ORIGIN + b"\r\n") for name in ("shut", "closed"))
    assert (shut.status_code, shut.headers["content-type"]) == (503, "text/html")
    assert_readable(shut)
    assert_readable(closed)
    assert_early_problem(closed, 503)
    preflight = ask(gate, "closed", b"OPTIONS /v1/analyze HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Method: POST\r\n" + ORIGIN + b"\r\n")
    assert preflight.status_code == 204
    assert_readable(preflight)
    assert ask(gate, "closed", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").status_code == 200


def test_a_server_may_say_what_it_has_without_the_api(gate):
    answer = ask(gate, "own", HEAD + b"Origin: https://own.example.com\r\n\r\n")
    assert (answer.headers["access-control-allow-origin"], answer.headers["referrer-policy"]) == ("https://own.example.com", "strict-origin-when-cross-origin")
