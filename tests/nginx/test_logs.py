"""Log lines: conf/log_json.conf is JSON whatever a client sends; each refusal has a line, and a flood has few."""

import json
import os
import re

import pytest

from contract import assert_problem
from load import all_at_once
from raw_http import RawConnection
from served import REPOSITORY, Served, reachable_folder, wait_until
from sounds import tone, wav

TONE = wav(tone(440, 0.5))
HTTP = f"include {REPOSITORY}/conf/log_json.conf; access_log logs/access.json sonogate_json;"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for this file: its log is looked at, and none of its settings is unusual."""
    served = Served(reachable_folder(tmp_path_factory, "logs"), http=HTTP, location="sonogate_max_body 64k;")
    yield served.start()
    served.stop()


def access_line(server, request_id):
    def find():
        with open(os.path.join(server.state, "logs/access.json"), encoding="utf-8", errors="replace") as log:
            lines = [json.loads(line) for line in log]
        return next((line for line in lines if line["request_id"] == request_id), None)

    return wait_until(find)


def test_the_json_format_has_every_variable():
    with open(os.path.join(REPOSITORY, "ngx_module/variables.cpp"), encoding="utf-8") as source:
        names = set(re.findall(r'\{"(sonogate_[a-z_]+)", Name::', source.read()))
    with open(os.path.join(REPOSITORY, "conf/log_json.conf"), encoding="utf-8") as conf:
        logged = set(re.findall(r"\$(sonogate_[a-z_]+)", conf.read()))
    assert len(names) > 15
    assert logged == names


def test_a_job_fills_its_line(server):
    answer = server.post("/v1/analyze", files={"file": ("my song.wav", TONE)}, headers={"X-Request-Id": "filled-1"})
    assert answer.status_code == 200
    line = access_line(server, "filled-1")
    assert line["filename"] == "my song.wav"
    assert int(line["bytes"]) == int(answer.request.headers["Content-Length"])
    assert (line["status"], line["endpoint"], line["error"], line["format"]) == (200, "analyze", "", "wav")
    assert (float(line["duration"]), int(line["sample_rate"]), int(line["channels"])) == (0.5, 44100, 1)
    assert line["identity"] == line["remote_addr"] == "127.0.0.1"
    for name in ("receive_time", "queue_time", "decode_time", "compute_time"):
        assert float(line[name]) >= 0


def test_a_raw_body_has_no_filename(server):
    assert server.post("/v1/analyze", data=TONE, headers={"X-Request-Id": "raw-1"}).status_code == 200
    assert access_line(server, "raw-1")["filename"] == ""


# As sent between the quotes of filename="…" -> as logged.
HOSTILE = [
    (b"../../etc/passwd", "passwd"),
    (b"/etc/cron.d/x", "x"),
    (rb"C:\\temp\\x.wav", "x.wav"),
    (b"..", ""),
    (b".", ""),
    (b"", ""),
    (b"a/", ""),
    (rb"a\"b.wav", "a_b.wav"),
    (b'"}{"status":500', ""),  # the quote ends the name
    (b"x\ty\x01\x7f.wav", "x_y__.wav"),
    (b"\xff\xfe\xc0\xafx", "____x"),
    (b"\xed\xa0\x80x\xf4\x90\x80\x80", "___x____"),  # a surrogate, beyond Unicode
    ("täst ♪ 音.flac".encode(), "täst ♪ 音.flac"),
    ("\u202egpj.wav\u2028\u0085".encode(), "_gpj.wav__"),
    (b"<script>alert(1)</script>.wav", "script_.wav"),
    (b"$sonogate_identity${x}%n%s", "$sonogate_identity${x}%n%s"),
    (b"a" * 300 + b".wav", "a" * 255),
    ("é".encode() * 200, "é" * 127),
    (b"b" * 5000, ""),
]


@pytest.mark.parametrize(("sent", "logged"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_filename_is_harmless(server, sent, logged):
    number = HOSTILE.index((sent, logged))
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + sent + b'"\r\n\r\n'
    body = head + TONE + b"\r\n--b--\r\n"
    answer = server.post("/v1/analyze", data=body, headers={"Content-Type": "multipart/form-data; boundary=b", "X-Request-Id": f"hostile-{number}"})
    assert answer.status_code == 200, answer.text
    assert "passwd" not in answer.text
    assert access_line(server, f"hostile-{number}")["filename"] == logged


def test_hostile_headers_leave_the_log_json(server):
    with RawConnection(server.port) as raw:
        raw.send(b'GET /v1/tracks?q="\\\xff HTTP/1.1\r\nHost: h\r\nUser-Agent: "\\\t\xff{}\r\nX-Request-Id: hostile"\\id\r\n\r\n')
        raw.answer()
    assert access_line(server, 'hostile"\\id')["endpoint"] in ("tracks", "other")


def refusals(server, pattern):
    return [line for line in server.error_log().splitlines() if re.search(pattern, line)]


def test_each_refusal_has_one_line_with_its_id_and_reason(server):
    sent = {
        "r-type": ("unsupported-format", lambda h: server.post("/v1/analyze", data=b"text" * 50, headers=h)),
        "r-parameter": ("invalid-parameter peaks", lambda h: server.post("/v1/analyze?peaks=x", data=TONE, headers=h)),
        "r-route": ("not-found", lambda h: server.get("/v1/nothing", headers=h)),
        "r-method": ("method-not-allowed", lambda h: server.get("/v1/analyze", headers=h)),
        "r-nginx": ("body-too-large", lambda h: server.post("/v1/analyze", data=bytes(70_000), headers=h)),
        "r-chunked": ("body-too-large", lambda h: server.post("/v1/analyze", data=iter([bytes(70_000)]), headers=h)),
    }
    for request_id, (reason, send) in sent.items():
        answer = send({"X-Request-Id": request_id})
        assert_problem(answer, answer.status_code, reason.split()[0])
    for request_id, (reason, _) in sent.items():
        (line,) = wait_until(lambda request_id=request_id: refusals(server, f"request {request_id}:"))
        assert f"request {request_id}: {reason}" in line
        assert "[info]" in line


@pytest.mark.parametrize(("level", "errors_only"), [("error", True), ("warn", False)])
def test_the_level_is_the_operators(serve, level, errors_only):
    server = serve(log_level="error" if errors_only else "warn", server=f"sonogate_log_level {level};", location="} location /v1/tracks { sonogate_pass main; sonogate_log_level info;")
    assert server.post("/v1/analyze", data=b"text", headers={"X-Request-Id": "seen"}).status_code == 415
    assert server.post("/v1/tracks", data=b"text", headers={"X-Request-Id": "unseen"}).status_code == 403
    (line,) = wait_until(lambda: refusals(server, "request seen: unsupported-format"))
    assert f"[{level}]" in line
    assert not refusals(server, "request unseen")


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory):
    """Which writes all lines and all sums of the floods."""
    served = Served(reachable_folder(tmp_path_factory, "floods"), workers=1, location="sonogate_max_body 10k; sonogate_log_level notice;")
    yield served.start()
    served.stop()


FLOODS = {
    "not-found": (404, lambda server: server.get("/v1/nothing")),
    "body-too-large": (413, lambda server: server.post("/v1/analyze", data=bytes(11 << 10))),
    "body-too-large, chunked": (413, lambda server: server.post("/v1/analyze", data=iter([bytes(11 << 10)]))),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_refusals_is_summarised(one_worker, name):
    server, count, kind = one_worker, 300, name.partition(",")[0]
    status, send = FLOODS[name]
    before = len(server.error_log())

    def flood(_):
        return [send(server).status_code for _ in range(count // 10)]

    assert sum(all_at_once(flood, 10), []) == [status] * count

    def told():
        said = server.error_log()[before:].splitlines()
        lines = [line for line in said if re.search(rf"sonogate: request \S+: {kind}", line)]
        left_out = [int(n) for line in said for n in re.findall(rf"sonogate: (\d+) more refusals in a second: {kind}", line)]
        return len(lines) + sum(left_out) == count and (len(lines), left_out)

    lines, left_out = wait_until(told, 5)
    assert left_out
    assert lines <= 10 * (len(left_out) + 2), "more lines than a second may have"
    # Another kind has its own count.
    assert server.post("/v1/analyze", data=b"text", headers={"X-Request-Id": f"other-{status}"}).status_code == 415
    assert wait_until(lambda: refusals(server, f"request other-{status}: unsupported-format"))
    # Nor has nginx lines of its own, at levels of its own.
    assert not refusals(server, r"\[(warn|error)\]|intended to send too large")
