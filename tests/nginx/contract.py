"""What the HTTP contract says of every answer, as assertions."""

import json
import math
import re

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def _no_repeats(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a repeated key in {names}"
    return dict(pairs)


def _no_constant(name):
    raise AssertionError(f"{name} in JSON")


def strict_json(answer):
    """The body as JSON: UTF-8, no NaN, no Infinity, no key twice."""
    return json.loads(answer.content.decode("utf-8"), object_pairs_hook=_no_repeats, parse_constant=_no_constant)


def assert_problem(answer, status, kind=None, parameter=None):
    """An error as RFC 9457 and the contract have it. `kind` is one type or several."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    problem = strict_json(answer)
    kinds = (kind,) if isinstance(kind, str) else kind
    if kinds:
        assert problem["type"] in [f"/problems/{k}" for k in kinds], problem
    assert problem["status"] == status
    assert problem["title"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    detail = problem.get("detail", "")
    assert not re.search(r"(/usr|/tmp|/home|/work|/proc|\.cpp|0x[0-9a-f]+|std::)", detail), detail
    if parameter:
        assert problem["parameter"] == parameter, problem
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1
    return problem


def assert_job_answer(answer, kind, status=200, cache="miss"):
    """An answer of a job, or of the result cache: its frame, its headers, finite numbers."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    assert REQUEST_ID.fullmatch(answer.headers["X-Request-Id"])
    assert "Server-Timing" in answer.headers
    assert answer.headers["Cache-Status"] == {"miss": "sonogate; fwd=miss", "hit": "sonogate; hit"}[cache]
    assert "ETag" not in answer.headers
    out = strict_json(answer)
    assert out["request_id"] == answer.headers["X-Request-Id"]
    if kind:
        assert out["kind"] == kind
    assert out["cache"] == cache
    for name in ("receive", "queue", "decode", "compute", "total", "after_last_byte"):
        assert out["timing_ms"][name] >= 0 and math.isfinite(out["timing_ms"][name]), out["timing_ms"]
    return out


# What a request may end in while parts of the backend are killed under it.
DEATH_TYPES = {502: ("worker-crashed",), 503: ("overloaded", "backend-unavailable", "draining"), 504: ("deadline-exceeded",)}


def assert_answer_or_death(answer, kind):
    """A whole answer, or one of the problems that a death may cause; gives the status."""
    if answer.status_code in (200, 201):
        assert_job_answer(answer, kind, answer.status_code)
    else:
        assert_problem(answer, answer.status_code, DEATH_TYPES.get(answer.status_code, ("no status for a death",)))
    return answer.status_code
