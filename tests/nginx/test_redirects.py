"""Who is sent from one location of ours to another (error_page, try_files, names) passes the gate of the one that answers.

Three bodies, as each takes another way: one that needs no ticket, one that has its ticket before nginx decides who may come
in, and one whose sender waits to be asked for it.
"""

import pytest
import requests

from contract import assert_job_answer, assert_problem, strict_json
from load import FRESH
from metrics import scrape
from raw_http import RawConnection
from served import Served, reachable_folder, virtual, wait_until
from sounds import music, wav

SMALL, LARGE = wav(music(1, 1.5, 8000), 8000), wav(music(1, 3))
BODIES = {"small": (SMALL, {}), "with a ticket": (LARGE, {}), "waiting": (SMALL, {"Expect": "100-continue"})}
BASIC = "auth_basic closed; auth_basic_user_file users;"


def closed(name, settings, before=""):
    """Nobody has a password; whoever has none is sent on to a location of those settings."""
    return virtual(name, f"{before} location @next {{ sonogate_pass main; {settings} }}", f"sonogate_catalog write open; {BASIC} error_page 401 = @next;")


PLAIN = "sonogate_pass main; sonogate_max_audio 2s; sonogate_cors https://app.example.com; sonogate_rate zone=next 100r/h;"

SERVERS = (
    "sonogate_rate_zone next:1m key=$http_x_client;"
    + closed("read", "sonogate_catalog read;")
    + closed("write", "sonogate_catalog write open;")
    + closed("hosts", "sonogate_hosts somewhere.example;")
    + closed("short", "sonogate_max_audio 100ms;")
    + closed("rated", "sonogate_rate zone=next 1r/h;")
    + closed("named", "sonogate_max_body 10k;", "client_max_body_size 0;")
    + virtual("tried", "location = /v1/analyze { sonogate_pass main; try_files /nope /v1/fingerprint; }")
    + virtual("tried-name", "client_max_body_size 0; location /v1/ { try_files /nope @api; } location @api { sonogate_pass main; sonogate_max_body 100k; }")
    + virtual("keys", "location @next { sonogate_pass main; }", "sonogate_keys keys; error_page 401 = @next;")
    + virtual("counted", f"location /closed/ {{ rewrite ^/closed(/.*)$ $1 break; sonogate_pass main; sonogate_concurrency 1 key=x; {BASIC} }}", "sonogate_concurrency 1 key=x;")
    + virtual("elsewhere", f"location /closed/ {{ rewrite ^/closed(/.*)$ $1 break; sonogate_pass main; sonogate_concurrency 1 key=x; {BASIC} error_page 401 = @slow; }}"
              " location @slow { proxy_pass http://127.0.0.1:8080; proxy_set_header Host page; }", "sonogate_concurrency 1 key=x;")
    + f"""server {{ listen 127.0.0.1:8080; server_name plain; root /nowhere; location / {{ try_files $uri @api; }} location @api {{ {PLAIN} }}
              location /v1/tracks {{ try_files $uri /ours; }} location = /ours {{ internal; rewrite ^ /v1/tracks break; {PLAIN} }} }}\n"""
    + "server { listen 127.0.0.1:8080; server_name page; location / { return 200 page; } }\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    served = Served(reachable_folder(tmp_path_factory, "redirects"), files={"users": "", "keys": f"somebody {'0' * 64}\n"}, http=SERVERS)
    try:
        yield served.start()
    finally:
        served.stop()


def ask(gate, host, path="/v1/analyze", body="small", **headers):
    data, more = BODIES[body]
    return requests.post(gate.base + path, data=data, headers=FRESH | more | {"Host": host} | headers, timeout=60)


@pytest.mark.parametrize("body", BODIES)
def test_the_settings_of_the_location_that_answers_are_in_force(gate, body):
    assert_problem(ask(gate, "read", "/v1/tracks", body), 403, "forbidden")
    assert_problem(ask(gate, "hosts", body=body), 421, "unknown-host")
    assert_problem(ask(gate, "short", body=body), 413, "audio-too-long")
    assert ask(gate, "write", "/v1/tracks", body).status_code in (200, 201)
    assert gate.get("/v1/tracks").status_code == 200
    assert [ask(gate, "rated", body=body, **{"X-Client": body}).status_code for _ in range(3)] == [200, 429, 429]


@pytest.mark.parametrize("body", BODIES)
def test_a_name_has_the_api_with_limits_and_headers(gate, body):
    """try_files leads to it with the path that was asked for."""
    page = {"Origin": "https://app.example.com", "X-Client": "plain " + body}
    answer = ask(gate, "plain", "/v1/fingerprint", "small" if body == "with a ticket" else body, **page)
    assert_job_answer(answer, "fingerprint")
    long = ask(gate, "plain", "/v1/analyze", "with a ticket", **page)
    assert_problem(long, 413, "audio-too-long")
    unknown = ask(gate, "plain", "/v1/nothing", body, **page)
    assert_problem(unknown, 404, "not-found")
    for answered in (answer, long, unknown):
        assert answered.headers["Access-Control-Allow-Origin"] == page["Origin"]
        assert (answered.headers["Vary"], answered.headers["X-Frame-Options"]) == ("Origin", "DENY")
    assert long.headers["RateLimit"].startswith('"h";r=98;')
    preflight = requests.options(gate.base + "/v1/analyze", headers={"Host": "plain", "Access-Control-Request-Method": "POST"} | page, timeout=20)
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Methods"]) == (204, "POST")


def test_try_files_leads_to_a_path_of_ours(gate):
    answer = requests.get(gate.base + "/v1/tracks", headers={"Host": "plain", "X-Client": "tried"}, timeout=20)
    assert answer.status_code == 200 and "tracks" in strict_json(answer)
    assert answer.headers["RateLimit"].startswith('"h";r=99;')
    assert_problem(requests.post(gate.base + "/v1/tracks", data=SMALL, headers={"Host": "plain"}, timeout=20), 403, "forbidden")


@pytest.mark.parametrize("body", BODIES)
def test_the_path_that_was_tried_last_is_answered(gate, body):
    assert_job_answer(ask(gate, "tried", body=body), "fingerprint")


def test_a_declared_length_is_bounded_in_a_location_with_a_name(gate):
    for host, limit in (("named", 10 << 10), ("tried-name", 100 << 10)):
        problem = assert_problem(ask(gate, host, body="with a ticket"), 413, "body-too-large")
        assert (problem["limit"], problem["value"]) == (limit, len(LARGE))
    assert_job_answer(ask(gate, "tried-name"), "analyze")


@pytest.mark.parametrize("declared", [30_000_000, 5 * 10**12, 9 * 10**18])
def test_nobody_is_asked_for_a_body_of_any_length(gate, declared):
    """Nor does the daemon take the length for a lie, and close the link on everybody."""
    with RawConnection(gate.port) as raw:
        raw.send(f"POST /v1/analyze HTTP/1.1\r\nHost: tried-name\r\nExpect: 100-continue\r\nContent-Length: {declared}\r\n\r\n".encode())
        answer = raw.answer()
        assert (answer.status_code, answer.json()["value"]) == (413, declared)
    assert_job_answer(ask(gate, "tried-name"), "analyze")
    assert "it lied" not in gate.daemon_log()


@pytest.mark.parametrize("host, status", [("counted", 401), ("elsewhere", 200)])
def test_who_is_turned_away_leaves_the_ticket_at_once(gate, host, status):
    """The sender goes on, and nginx reads and forgets; but it is nobody's upload any more."""
    with RawConnection(gate.port) as raw:
        raw.send(f"POST /closed/v1/analyze HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2000000\r\n\r\nx".encode())
        if status == 401:
            assert raw.answer().status_code == 401
        wait_until(lambda: scrape(gate)[0]["sonogate_concurrency_tickets"] == 0)
        assert_job_answer(ask(gate, host), "analyze")


def test_who_waits_is_asked_for_the_body_by_the_location_that_takes_it(gate):
    with RawConnection(gate.port) as raw:
        raw.send(f"POST /v1/analyze HTTP/1.1\r\nHost: keys\r\nExpect: 100-continue\r\nCache-Control: no-store\r\nContent-Length: {len(SMALL)}\r\n\r\n".encode())
        assert raw.answer().status_code == 100
        raw.send(SMALL)
        assert strict_json(raw.answer())["kind"] == "analyze"
