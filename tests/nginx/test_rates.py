"""sonogate_rate: who may ask how often, by several windows at once, and how the client is told."""

import concurrent.futures
import contextlib
import hashlib
import os
import re
import threading
import time

import httpx
import pytest
import requests

from contract import assert_job_answer, assert_problem
from load import all_at_once
from raw_http import RawConnection
from served import Served, free_port, reachable_folder, wait_until
from sounds import tone, wav

SMALL = wav(tone(440, 0.1))
QUICK = "/v1/analyze?features=levels&peaks=0"
ZONE = "sonogate_rate_zone z:1m key=$http_x_key;"


def ask(server, key="a", path=QUICK, **arguments):
    headers = {"X-Key": key} | arguments.pop("headers", {})
    return server.post(path, data=arguments.pop("data", SMALL), headers=headers, **arguments)


def statuses(server, count, **arguments):
    return [ask(server, **arguments).status_code for _ in range(count)]


def items(header):
    """A structured list of strings with integer or string parameters, as {name: {parameter: value}}."""
    out = {}
    for name, parameters in re.findall(r'"([^"]*)"((?:;[a-z]+=(?:\d+|"[^"]*"))*)(?:,|$)', header):
        assert name not in out, header
        out[name] = {k: int(v) if v.isdigit() else v.strip('"') for k, v in re.findall(r';([a-z]+)=(\d+|"[^"]*")', parameters)}
    assert out, header
    return out


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for all that only differ in their locations. Each test has keys of its own."""
    server = Served(
        reachable_folder(tmp_path_factory, "rates"),
        workers=2,
        http="""
            sonogate_rate_zone z:1m key=$http_x_key;
            sonogate_rate_zone address:1m key=$binary_remote_addr;
            sonogate_rate_zone small:32k key=$http_x_key;
            sonogate_rate_zone who:1m;
            sonogate_rate_zone braces:1m key=${sonogate_identity};
            sonogate_rate_zone text:1m key=$host$http_x_key;
            map $http_x_class $policy { gold "5r/m 100r/h"; none ""; broken "5r/m lots"; default 1r/m; }
            sonogate_rate_zone audio:1m key=$http_x_key;
            sonogate_rate_zone bytes:1m key=$http_x_key;
            map $http_x_class $many { 17 "1000r/1h 1000r/2h 1000r/3h 1000r/4h 1000r/5h 1000r/6h 1000r/7h 1000r/8h 1000r/9h 1000r/10h 1000r/11h 1000r/12h 1000r/13h 1000r/14h 1000r/15h 1000r/16h 1000r/17h"; }
            map $http_x_class $is_gold { gold 1; zero 0; default ""; }
            log_format rate "$http_x_key $sonogate_rate_status $status";
            access_log logs/rate.log rate;
        """,
        pool="result_cache 8m;",
        location="sonogate_max_body 4m;",
        server="""
            set_real_ip_from 127.0.0.1;
            real_ip_header X-Real-Ip;
            sonogate_cache off;
            sonogate_rate zone=z 3r/m;
            location /three { rewrite ^/three(/.*)$ $1 break; sonogate_pass main; sonogate_catalog write open; error_page 404 = /three/v1/tracks; }
            location /free { rewrite ^/free(/.*)$ $1 break; sonogate_pass main; sonogate_rate off; }
            location /windows { rewrite ^/windows(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 4r/h 2r/10s; sonogate_rate zone=address 1000r/m; }
            location /names {
                rewrite ^/names(/.*)$ $1 break; sonogate_pass main;
                sonogate_rate zone=z 100r/m 600s/m 100m/m; sonogate_rate zone=audio 100r/m 600s/m 100m/m; sonogate_rate zone=bytes 100r/m; sonogate_rate zone=small 100r/m 600s/m;
            }
            location /named-late { rewrite ^/named-late(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=text $policy; sonogate_rate zone=z 100r/m; }
            location /many { rewrite ^/many(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z $many; }
            location /burst { rewrite ^/burst(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 60r/m burst=2; }
            location /dry { rewrite ^/dry(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 1r/d dry_run; }
            location /status { rewrite ^/status(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 1r/5h status=403; }
            location /if { rewrite ^/if(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 3r/2h if=$is_gold; sonogate_rate zone=z 1r/2h; }
            location /only-if { rewrite ^/only-if(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 1r/3h if=$is_gold; }
            location /policy { rewrite ^/policy(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z $policy; }
            location /audio { rewrite ^/audio(/.*)$ $1 break; sonogate_pass main; sonogate_catalog write open; sonogate_rate zone=z 10s/h; }
            location /bytes { rewrite ^/bytes(/.*)$ $1 break; sonogate_pass main; sonogate_max_body 4m; sonogate_rate zone=z 1m/h; }
            location /kept-out { rewrite ^/kept-out(/.*)$ $1 break; sonogate_pass main; deny all; sonogate_max_body 4m; sonogate_rate zone=z 1m/h; }
            location /legacy { rewrite ^/legacy(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 3r/4h 100r/d; sonogate_rate_headers legacy; }
            location /silent { rewrite ^/silent(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 1r/6h; sonogate_rate_headers off; }
            location /small { rewrite ^/small(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=small 10r/14h; }
            location /text { rewrite ^/text(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=text 1r/h; }
            location /realip { rewrite ^/realip(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=address 2r/7h; }
            location /who { rewrite ^/who(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=who 2r/7h; }
            location /braces { rewrite ^/braces(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=braces 2r/7h; }
            location /page { rewrite ^/page(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 1r/8h; error_page 429 /slow-down.txt; }
            location /page-api { rewrite ^/page-api(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 1r/9h; error_page 429 = /v1/tracks; }
            location = /slow-down.txt { internal; return 200 "slow down"; }
            location /inner { internal; rewrite ^/inner(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 3r/10h; }
            location /redirect { rewrite ^/redirect(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 3r/10h; try_files /nope /inner$uri?$args; }
            location /turned { rewrite ^/turned(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 3r/10h; deny all; error_page 403 = /inner/v1/tracks; }
            location /rewritten { sonogate_pass main; sonogate_rate zone=z 3r/10h; rewrite ^/rewritten(/.*)$ /inner$1 last; }
            location /mirror { rewrite ^/mirror(/.*)$ $1 break; mirror /copy; sonogate_pass main; sonogate_rate zone=z 3r/11h; }
            location = /copy { internal; rewrite ^ /v1/analyze break; sonogate_pass main; sonogate_rate zone=z 3r/11h; }
            location /cors { rewrite ^/cors(/.*)$ $1 break; sonogate_pass main; sonogate_cors https://app.example.com; sonogate_rate zone=z 1r/13h; }
            location /cached { rewrite ^/cached(/.*)$ $1 break; sonogate_pass main; sonogate_cache on; sonogate_rate zone=z 10s/13h; }
            location /denied { rewrite ^/denied(/.*)$ $1 break; sonogate_pass main; sonogate_rate zone=z 2r/12h; deny all; }
        """,
    )
    try:
        yield server.start()
    finally:
        server.stop()


# ---- windows


def test_as_many_as_the_quota_at_once_and_then_429(shared):
    answers = [ask(shared, "at-once", "/three" + QUICK) for _ in range(5)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
    assert_job_answer(answers[0], "analyze")
    problem = assert_problem(answers[3], 429, "rate-limited")
    assert problem["limit"] == 3 and problem["retry_after_s"] == int(answers[3].headers["Retry-After"])
    assert 15 <= int(answers[3].headers["Retry-After"]) <= 20
    assert ask(shared, "somebody else", "/three" + QUICK).status_code == 200


def test_rates_of_a_server_are_inherited_until_a_location_has_its_own(shared):
    assert statuses(shared, 4, key="inherits") == [200, 200, 200, 429]
    assert statuses(shared, 4, key="inherits", path="/free" + QUICK) == [200] * 4
    assert statuses(shared, 3, key="inherits", path="/windows" + QUICK) == [200, 200, 429]


def test_what_was_charged_comes_back_in_time(serve):
    server = serve(http=ZONE, location="sonogate_rate zone=z 2r/2s;")
    assert statuses(server, 3) == [200, 200, 429]
    began = time.monotonic()
    wait_until(lambda: ask(server).status_code == 200, 5, 0.02)
    assert 0.7 < time.monotonic() - began < 2
    assert ask(server).status_code == 429  # one came back, not two


def test_all_windows_are_looked_at_before_any_is_charged(shared):
    path = "/windows" + QUICK
    assert statuses(shared, 6, key="several", path=path) == [200, 200, 429, 429, 429, 429]
    left = items(ask(shared, "several", path).headers["RateLimit"])
    assert left["10s"]["r"] == 0 and left["h"]["r"] == 2


def test_a_burst_lowers_how_many_come_at_once(shared):
    assert statuses(shared, 3, key="burst", path="/burst" + QUICK) == [200, 200, 429]
    wait_until(lambda: ask(shared, "burst", "/burst" + QUICK).status_code == 200, 3)


def test_a_dry_run_refuses_nobody_and_is_told_in_log_and_variable(shared):
    answers = [ask(shared, "dry-run", "/dry" + QUICK) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 200]
    assert "RateLimit" not in answers[2].headers
    log = os.path.join(shared.state, "logs/rate.log")
    wait_until(lambda: open(log, encoding="ascii").read().count("dry-run") == 3)
    assert [line for line in open(log, encoding="ascii").read().splitlines() if "dry-run" in line] == [
        "dry-run passed 200", "dry-run rejected_dry_run 200", "dry-run rejected_dry_run 200"]  # fmt: skip
    assert shared.error_log().count('rate-limited by "d" of zone z, dry run') == 2


def test_another_status_may_be_answered(shared):
    path = "/status" + QUICK
    assert ask(shared, "status", path).status_code == 200
    refused = ask(shared, "status", path)
    problem = assert_problem(refused, 403, "rate-limited")
    assert problem["status"] == 403 and int(refused.headers["Retry-After"]) > 17000


# ---- who asks


def test_the_first_policy_of_a_window_whose_condition_holds_is_in_force(shared):
    path = "/if" + QUICK
    assert statuses(shared, 4, key="if-gold", path=path, headers={"X-Class": "gold"}) == [200, 200, 200, 429]
    assert statuses(shared, 2, key="if-plain", path=path) == [200, 429]
    assert statuses(shared, 2, key="if-zero", path=path, headers={"X-Class": "zero"}) == [200, 429]
    assert statuses(shared, 3, key="unlimited", path="/only-if" + QUICK) == [200] * 3
    assert statuses(shared, 2, key="limited", path="/only-if" + QUICK, headers={"X-Class": "gold"}) == [200, 429]


def test_policies_may_come_from_a_variable(shared):
    path = "/policy" + QUICK
    gold = [ask(shared, "policy-gold", path, headers={"X-Class": "gold"}) for _ in range(6)]
    assert [a.status_code for a in gold] == [200] * 5 + [429]
    assert items(gold[0].headers["RateLimit-Policy"]) == {"m": {"q": 5, "w": 60}, "h": {"q": 100, "w": 3600}}
    assert statuses(shared, 2, key="policy-plain", path=path) == [200, 429]
    none = [ask(shared, "policy-none", path, headers={"X-Class": "none"}) for _ in range(3)]
    assert [a.status_code for a in none] == [200] * 3 and "RateLimit" not in none[0].headers
    broken = ask(shared, "policy-broken", path, headers={"X-Class": "broken"})
    assert_problem(broken, 500, "internal")
    assert "RateLimit" not in broken.headers, "no window was looked at"
    assert '"lots" is not a rate policy' in shared.error_log()
    assert_problem(ask(shared, "policy-many", "/many" + QUICK, headers={"X-Class": "17"}), 500, "internal")
    assert "more than 16 rate windows" in shared.error_log()


def test_empty_and_long_keys_are_limited_too(shared):
    path = "/three" + QUICK
    assert statuses(shared, 4, key="", path=path) == [200, 200, 200, 429]
    long_key = "k" * 6000
    assert statuses(shared, 4, key=long_key + "1", path=path) == [200, 200, 200, 429]
    assert ask(shared, long_key + "2", path).status_code == 200
    assert statuses(shared, 2, key="text", path="/text" + QUICK) == [200, 429]
    assert ask(shared, "other text", "/text" + QUICK).status_code == 200


def test_the_address_is_the_one_that_realip_found(shared):
    def from_address(address):
        return ask(shared, path="/realip" + QUICK, headers={"X-Real-Ip": address}).status_code

    assert [from_address("192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert [from_address("2001:db8:9::1") for _ in range(3)] == [200, 200, 429]
    assert from_address("192.0.2.2") == 200


KEYS = {"ana": "rate=gold", "bob": ""}


def test_an_ipv6_caller_is_its_64_by_identity_and_one_address_by_another_key(shared):
    def asked(path, address):
        return ask(shared, "v6", path + QUICK, headers={"X-Real-Ip": address}).status_code

    one = [f"2001:db8::{n}" for n in (1, 2)] + ["2001:db8::ffff:0:0:3"]
    for path in ("/who", "/braces"):  # key=${sonogate_identity} is key=$sonogate_identity
        assert [asked(path, address) for address in one] == [200, 200, 429]
    assert [asked("/who", address) for address in ("2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3")] == [200] * 4
    assert [asked("/realip", address) for address in one] == [200] * 3


def test_identity_and_rate_class_of_a_key_choose_quota_and_policy(serve):
    lines = [f"{name} {hashlib.sha256(name.encode()).hexdigest()} {what}\n" for name, what in KEYS.items()]
    server = serve(
        files={"keys": "".join(lines)},
        http='sonogate_rate_zone uploads:1m; map $sonogate_rate_class $policy { gold 4r/h; default 2r/h; }',
        location="sonogate_keys keys; sonogate_rate zone=uploads $policy;",
    )

    def count(key, tries=6):
        return [ask(server, headers={"Authorization": f"Bearer {key}"}).status_code for _ in range(tries)]

    assert count("ana") == [200] * 4 + [429] * 2
    assert count("bob") == [200] * 2 + [429] * 4
    assert count("guessed") == [401] * 2 + [429] * 4  # by the address


# ---- what is charged


def test_seconds_of_audio_are_charged_when_they_are_known(shared):
    path = "/audio/v1/analyze?features=levels&peaks=0"
    six = wav(tone(440, 6))
    first = ask(shared, "audio", path, data=six)
    assert items(first.headers["RateLimit-Policy"])["h-audio"] == {"q": 10, "w": 3600, "qu": "audio-seconds"}
    assert items(first.headers["RateLimit"])["h-audio"]["r"] == 4
    assert items(ask(shared, "audio", path, data=six).headers["RateLimit"])["h-audio"]["r"] == 0
    refused = ask(shared, "audio", path)
    assert_problem(refused, 429, "rate-limited")
    assert 1000 < int(refused.headers["Retry-After"]) < 1100  # 12 s were taken of 10, one has to be free
    assert shared.get("/audio/v1/tracks", headers={"X-Key": "audio"}).status_code == 200  # has no audio


def test_a_declared_length_is_charged_and_refused_at_the_door(shared):
    path = "/bytes" + QUICK
    body = wav(tone(440, 7))  # 617 kB
    first = ask(shared, "bytes", path, data=body)
    assert first.status_code == 200
    told = items(first.headers["RateLimit"])["h-bytes"]
    assert abs(told["r"] - ((1 << 20) - len(body))) < 500
    with RawConnection(shared.port) as raw:
        raw.head(path, Content_Length=len(body), Expect="100-continue", X_Key="bytes")
        assert raw.answer().status_code == 429
    assert ask(shared, "bytes", path, data=body[:100_044]).status_code == 200
    assert ask(shared, "bytes", path, data=body).status_code == 429
    assert ask(shared, "bytes", path).status_code == 200


def test_uploads_in_flight_together_have_declared_no_more_than_fits(shared):
    path = "/bytes" + QUICK
    body = wav(tone(440, 3))  # 265 kB, of which 3 fit
    with contextlib.ExitStack() as stack:
        uploads = [stack.enter_context(RawConnection(shared.port)) for _ in range(5)]
        for raw in uploads:
            raw.head(path, Content_Length=len(body), X_Key="together", Expect="100-continue")
        assert sorted(raw.answer().status_code for raw in uploads) == [100] * 3 + [429] * 2
        # They are charged before a byte of them came.
        assert items(ask(shared, "together", path).headers["RateLimit"])["h-bytes"]["r"] < (1 << 20) - 3 * len(body)


def test_a_chunked_body_is_charged_as_it_arrives_and_refused_when_it_is_too_much(shared):
    path = "/bytes" + QUICK
    with RawConnection(shared.port) as raw:
        raw.head(path, Transfer_Encoding="chunked", X_Key="chunked")
        raw.chunk(b"x" * 300_000)
        wait_until(lambda: (1 << 20) - items(ask(shared, "chunked", path).headers["RateLimit"])["h-bytes"]["r"] >= 300_000)
        raw.reset()  # and stays charged
    answer = ask(shared, "chunked", path, data=iter([wav(tone(440, 9))]))  # 794 kB
    assert_problem(answer, 429, "rate-limited")
    assert items(answer.headers["RateLimit"])["h-bytes"]["r"] == 0
    assert ask(shared, "chunked", path, data=iter([SMALL])).status_code == 429


def test_what_is_refused_before_its_body_is_not_charged_for_the_body(shared):
    body = wav(tone(440, 7))
    for _ in range(3):
        assert ask(shared, "refused", "/kept-out" + QUICK, data=body).status_code == 403
    assert ask(shared, "refused", "/bytes" + QUICK, data=body).status_code == 200


def test_health_is_never_charged(shared):
    answers = [shared.get(path, headers={"X-Key": "health"}) for path in ("/three/health", "/three/ready") * 4]
    assert {a.status_code for a in answers} == {200}
    assert "RateLimit" not in answers[-1].headers
    assert ask(shared, "health", "/three" + QUICK).status_code == 200


def test_a_preflight_is_never_charged_and_a_page_may_read_its_refusal(shared):
    origin = {"Origin": "https://app.example.com", "X-Key": "preflight"}
    for _ in range(3):
        preflight = shared.request("OPTIONS", "/cors/v1/analyze", headers=origin | {"Access-Control-Request-Method": "POST"})
        assert preflight.status_code == 204 and "RateLimit" not in preflight.headers
    answers = [ask(shared, path="/cors" + QUICK, headers=origin) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 429]
    assert answers[1].headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(answers[1].headers["Access-Control-Expose-Headers"].split(", "))


def test_an_answer_from_the_cache_costs_no_seconds_of_audio(shared):
    sound = wav(tone(660, 4))
    answers = [ask(shared, "cached", "/cached" + QUICK, data=sound) for _ in range(4)]
    assert [a.headers["Cache-Status"] for a in answers] == ["sonogate; fwd=miss"] + ["sonogate; hit"] * 3
    assert {items(a.headers["RateLimit"])["13h-audio"]["r"] for a in answers} == {6}


def test_wrong_methods_and_paths_are_refused_without_a_charge(shared):
    for _ in range(4):
        assert shared.get("/three/v1/analyze", headers={"X-Key": "wrong"}).status_code == 405
    assert statuses(shared, 4, key="wrong", path="/three" + QUICK) == [200, 200, 200, 429]


def test_what_is_refused_later_is_charged(shared):
    answers = [ask(shared, "denied", "/denied" + QUICK).status_code for _ in range(3)]
    assert answers == [403, 403, 429]


# ---- once a request


@pytest.mark.parametrize("path", ["/redirect", "/turned", "/rewritten"])
def test_an_internal_redirect_charges_once(shared, path):
    """try_files and error_page send on what has been charged, a rewrite what has not; each time the same window is met again."""
    assert statuses(shared, 4, key="redirect" + path, path=path + QUICK) == [200, 200, 200, 429]


def test_an_error_page_takes_the_refusal_over_and_charges_nothing(shared):
    path = "/page" + QUICK
    assert ask(shared, "page", path).status_code == 200
    refused = ask(shared, "page", path)
    assert refused.status_code == 429 and refused.text == "slow down"
    assert int(refused.headers["Retry-After"]) > 0
    path = "/page-api" + QUICK
    assert ask(shared, "page-api", path).status_code == 200
    shown = ask(shared, "page-api", path)  # a GET of the API in place of the refusal
    assert shown.status_code == 200 and "tracks" in shown.json()
    assert statuses(shared, 4, key="page-api", path=QUICK) == [200, 200, 200, 429]


def test_a_mirrored_request_charges_once(shared):
    assert statuses(shared, 4, key="mirror", path="/mirror" + QUICK) == [200, 200, 200, 429]


# ---- connections


def test_a_connection_lives_on_after_a_refusal_and_pipelining_is_counted(shared):
    head = f"POST /three{QUICK} HTTP/1.1\r\nHost: x\r\nX-Key: pipeline\r\nContent-Length: {len(SMALL)}\r\n\r\n".encode()
    with RawConnection(shared.port) as raw:
        raw.send((head + SMALL) * 5)
        answers = [raw.answer() for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        raw.head("/three/health", "GET")
        assert raw.answer().status_code == 200


def test_http2_streams_are_counted_one_by_one(serve):
    port = free_port()
    server = serve(http=ZONE, listen=f"listen 127.0.0.1:{port} http2;", location="sonogate_rate zone=z 3r/h;")
    with httpx.Client(http1=False, http2=True) as client:
        answers = [client.post(f"http://127.0.0.1:{port}{QUICK}", content=SMALL, headers={"X-Key": "h2"}) for _ in range(5)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
    assert {a.http_version for a in answers} == {"HTTP/2"}
    assert answers[3].headers["ratelimit"].startswith('"h";r=0;t=')


# ---- what clients are told


def test_success_and_refusal_tell_quota_rest_and_reset(shared):
    path = "/three" + QUICK
    for left in (2, 1, 0):
        answer = ask(shared, "told", path)
        assert answer.headers["RateLimit-Policy"] == '"m";q=3;w=60'
        told = items(answer.headers["RateLimit"])["m"]
        assert told["r"] == left and (3 - left) * 20 - 1 <= told["t"] <= (3 - left) * 20
        assert "Retry-After" not in answer.headers
    refused = ask(shared, "told", path)
    told = items(refused.headers["RateLimit"])["m"]
    assert told["r"] == 0 and 59 <= told["t"] <= 60 and 19 <= int(refused.headers["Retry-After"]) <= 20


def test_windows_of_two_zones_have_two_names(shared):
    answer = ask(shared, "names", "/windows" + QUICK)
    assert answer.headers["RateLimit-Policy"] == '"h";q=4;w=3600,"10s";q=2;w=10,"m";q=1000;w=60'


def test_windows_that_clash_have_the_zones_name_too_and_no_two_are_alike(shared):
    answer = ask(shared, "names", "/names" + QUICK)
    names = list(items(answer.headers["RateLimit-Policy"]))
    assert names == ["m", "m-audio", "m-bytes", "m-audio-2", "m-audio-audio", "m-bytes-audio", "m-bytes-2", "m-small", "m-audio-small"]
    assert list(items(answer.headers["RateLimit"])) == names
    # A window of a variable yields to those that are always there, wherever they stand.
    answer = ask(shared, "names", "/named-late" + QUICK, headers={"X-Class": "gold"})
    assert list(items(answer.headers["RateLimit-Policy"])) == ["m-text", "h", "m"]


def test_the_older_headers_and_none(shared):
    legacy = ask(shared, "legacy", "/legacy" + QUICK)
    assert legacy.headers["X-RateLimit-Limit"] == "3" and legacy.headers["X-RateLimit-Remaining"] == "2"
    assert 4700 < int(legacy.headers["X-RateLimit-Reset"]) <= 4800
    assert "RateLimit" not in legacy.headers
    for _ in range(2):
        silent = ask(shared, "silent", "/silent" + QUICK)
        assert not [name for name in silent.headers if "ratelimit" in name.lower()]
    assert silent.status_code == 429 and "Retry-After" in silent.headers


# ---- the table


def test_ten_thousand_keys_in_a_small_zone_and_none_gets_off(shared):
    def each(keys):
        with requests.Session() as session:
            return [session.get(f"{shared.base}/small/v1/tracks", headers={"X-Key": key}, timeout=30).status_code for key in keys]

    used_up = [f"greedy-{n}" for n in range(20)]
    assert each(used_up * 11) == [200] * 200 + [429] * 20  # nothing comes back within an hour
    flooding = threading.Event()

    def ask_on():
        again = []
        while flooding.is_set():
            again += each(used_up)
        return again

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        flooding.set()
        during = pool.submit(ask_on)
        answers = [status for part in pool.map(lambda i: each(f"{i}-{k}" for k in range(100)), range(100)) for status in part]
        flooding.clear()
        again = during.result()
    assert set(answers) <= {200, 429} and answers.count(200) > 9_000
    assert len(again) >= len(used_up) and set(again) == {429}
    assert set(each(used_up)) == {429}
    assert each(["late"] * 30).count(200) <= 10


def test_two_workers_that_race_on_one_key_never_admit_more(serve):
    server = serve(http=ZONE, location="sonogate_rate zone=z 20r/h;")
    for key in ("race-1", "race-2", "race-3"):
        answers = all_at_once(lambda _, k=key: ask(server, k, headers={"Connection": "close"}), 60)
        assert [a.status_code for a in answers].count(200) == 20


def test_a_reload_in_the_middle_of_a_window_changes_nothing(serve):
    server = serve(http=ZONE, location="sonogate_rate zone=z 6r/h;")
    assert statuses(server, 3) == [200] * 3
    for _ in range(2):
        old = set(server.pids("nginx: worker"))
        server.reload()
        wait_until(lambda o=old: not o & set(server.pids("nginx: worker")))
    assert statuses(server, 5) == [200] * 3 + [429] * 2
    server.change_conf(http=ZONE, location="sonogate_rate zone=z 6r/h 100r/m;")  # another window has a table of its own
    server.reload()
    wait_until(lambda: "m" in items(ask(server, "new", headers={"Connection": "close"}).headers["RateLimit-Policy"]))
    assert ask(server).status_code == 429


def test_a_killed_worker_leaves_nothing_to_repair(serve):
    server = serve(http=ZONE, location="sonogate_rate zone=z 6r/h;")
    assert statuses(server, 3) == [200] * 3
    for pid in server.pids("nginx: worker"):
        server.kill(pid)
    wait_until(lambda: len(server.pids("nginx: worker")) == 2 and server.is_ready())
    assert statuses(server, 5) == [200] * 3 + [429] * 2
