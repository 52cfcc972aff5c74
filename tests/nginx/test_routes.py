"""Paths, methods, request ids."""

import pytest

from contract import REQUEST_ID, assert_problem
from sounds import tone, wav

METHODS = {
    "/v1/analyze": {"POST"},
    "/v1/identify": {"POST"},
    "/v1/fingerprint": {"POST"},
    "/v1/monitor": {"POST"},
    "/v1/tracks": {"GET", "HEAD", "POST"},
    "/v1/tracks/some-track": {"GET", "HEAD", "PATCH", "DELETE"},
    "/metrics": {"GET", "HEAD"},
    "/health": {"GET", "HEAD"},
    "/ready": {"GET", "HEAD"},
}


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "FROB"])
def test_a_wrong_method_is_405_and_allow_lists_the_right_ones(server, path, method):
    if method in METHODS[path]:
        return
    answer = server.request(method, path, data=b"x")
    assert_problem(answer, 405, "method-not-allowed")
    assert METHODS[path] - {"HEAD"} <= set(answer.headers["Allow"].replace(" ", "").split(","))


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v1/analyzer", "/v1/analyze/", "/v1/analyze/x", "/V1/analyze", "/v1/tracks/", "/v1/tracks/a/b", "/v2/analyze", "/health/", "/v1/monitor2"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_404(server, path, method):
    assert_problem(server.request(method, path, data=b"x" if method == "POST" else None), 404, "not-found")


@pytest.mark.parametrize("track_id", ["a" * 129, "a%20b", "%C3%A4", "a%0Ab"])
def test_a_track_id_that_none_can_have_is_no_track(server, track_id):
    answer = server.get(f"/v1/tracks/{track_id}")
    if answer.status_code == 400:
        assert_problem(answer, 400)
    else:
        assert_problem(answer, 404, "not-found")


def test_a_good_request_id_is_kept(server):
    for kept in ("x", "a-b_c.1:2/3", "~" * 128):
        answer = server.post("/v1/analyze", data=wav(tone(seconds=0.1)), headers={"X-Request-Id": kept})
        assert answer.headers["X-Request-Id"] == kept
        assert answer.json()["request_id"] == kept


@pytest.mark.parametrize("bad", ["", "a b", "a" * 129, "caf\xe9", 'quote\t"'])
def test_a_bad_request_id_is_replaced(server, bad):
    answer = server.get("/v1/nothing", headers={"X-Request-Id": bad.encode("latin-1")})
    assert answer.headers["X-Request-Id"] != bad
    assert REQUEST_ID.fullmatch(answer.headers["X-Request-Id"])


def test_a_request_id_with_quotes_does_not_break_the_json(server):
    bad = '"}{\\"x\\"'
    answer = server.post("/v1/analyze", data=wav(tone(seconds=0.1)), headers={"X-Request-Id": bad})
    assert answer.json()["request_id"] == bad
    assert_problem(server.get("/v1/nothing", headers={"X-Request-Id": bad}), 404)


def test_request_ids_that_are_made_differ(server):
    ids = {server.get("/health").headers["X-Request-Id"] for _ in range(50)}
    assert len(ids) == 50


def test_slashes_and_dots_lead_where_they_say(server):
    assert server.post("//v1//analyze", data=wav(tone(seconds=0.1))).status_code in (200, 404)
    assert server.get("/v1/tracks/../../health").status_code in (200, 404)
