"""Keys: who is let in, to what, beside nginx's own ways of asking."""

import base64
import hashlib
import os
import re
import stat
import subprocess

import pytest
import requests

from contract import assert_job_answer, assert_problem, strict_json
from raw_http import RawConnection
from served import BUILD, Served, reachable_folder, virtual, wait_until
from sounds import tone, wav

ROLES = {"ana": "roles=analyze", "ida": "roles=identify", "cat": "roles=catalog rate=gold", "opa": "roles=ops", "all": "roles=analyze,identify,catalog,ops", "def": ""}
SOUND = wav(tone(seconds=0.2))
WHO = 'add_header X-Who "$sonogate_identity $sonogate_authenticated $sonogate_rate_class" always;'
BASIC = "auth_basic closed; auth_basic_user_file users;"


def key_of(name):
    return f"secret of {name}"


def key_file(names):
    lines = [f"{name} {hashlib.sha256(key_of(name).encode()).hexdigest()} {ROLES[name]}" for name in names]
    return "\n# a comment\n\n".join(lines) + "\n"


SERVERS = (
    virtual("keys", "sonogate_keys keys;", "sonogate_catalog write;")
    + virtual("open", "sonogate_keys keys; sonogate_catalog write open;")
    + virtual("read", "sonogate_keys keys;")
    + virtual("off", "sonogate_keys keys;", "sonogate_keys off;")
    + virtual("none", "")
    + virtual("many", "sonogate_keys many;")
    + virtual("any", f"satisfy any; {BASIC} sonogate_keys keys; sonogate_catalog write;")
    + virtual("all", f"{BASIC} sonogate_keys keys; sonogate_catalog write;")
    + virtual("address", "satisfy any; deny all; sonogate_keys keys;")
    + virtual("asked", "satisfy any; sonogate_keys keys; auth_request /ask; location = /ask { internal; if ($http_x_let = in) { return 204; } return 403; }")
    + virtual("page", "sonogate_keys keys; error_page 401 /login; location = /login { return 200 'log in'; }")
    + virtual("moved", "location = /v1/moved { rewrite ^ /v1/analyze last; } sonogate_keys keys;")
    + f"server {{ listen 127.0.0.1:8080; server_name static; sonogate_keys keys; location / {{ return 200 here; }} }}\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    folder = reachable_folder(tmp_path_factory, "keys")
    (folder / "keys").write_text(key_file(ROLES))
    os.chmod(folder / "keys", 0o600)
    (folder / "many").write_text("".join(f"n{i} {hashlib.sha256(str(i).encode()).hexdigest()}\n" for i in range(10_000)))
    (folder / "users").write_text("user:{PLAIN}password\n")
    served = Served(folder, http=WHO + SERVERS)
    try:
        yield served.start()
    finally:
        served.stop()


def ask(server, host, path="/v1/analyze", key=None, method="POST", data=SOUND, headers=None):
    sent = {"Host": host} | (headers or {})
    if key:
        sent["Authorization"] = f"Bearer {key}"
    return server.request(method, path, headers=sent, data=data if method in ("POST", "PATCH") else None)


def basic(user="user", password="password"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


# ---- who is let in


def test_without_a_key_it_is_401_with_a_challenge(gate):
    answer = ask(gate, "keys")
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sonogate"'
    assert answer.headers["X-Who"].split()[1] == "0"


@pytest.mark.parametrize("sent", ["Bearer x", "Bearer secret of al", "Bearer secret of allx", "bearer nothing", "Bearer " + "k" * 4000,
                                  "Bearer " + hashlib.sha256(b"secret of all").hexdigest()])  # fmt: skip
def test_a_wrong_key_is_401_and_told_so(gate, sent):
    answer = ask(gate, "keys", headers={"Authorization": sent})
    assert_problem(answer, 401, "unauthenticated")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert answer.headers["X-Who"] == "127.0.0.1 0 "


@pytest.mark.parametrize("sent", ["Basic c2VjcmV0", "Bearer", "Bearer ", "Token secret of all", ""])
def test_what_is_no_bearer_key_is_no_key(gate, sent):
    answer = ask(gate, "keys", headers={"Authorization": sent})
    assert_problem(answer, 401, "unauthenticated")
    assert "error" not in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer secret of all"}, {"Authorization": "BEARER   secret of all"}, {"X-Api-Key": "secret of all"}])
def test_a_key_is_let_in_however_it_is_sent(gate, headers):
    assert_job_answer(ask(gate, "keys", headers=headers), "analyze")


def test_every_key_of_a_long_file_is_found_and_no_other(gate):
    with requests.Session() as session:
        for i in [*range(40), *range(9_960, 10_000)]:
            answer = session.get(gate.base + "/v1/tracks", headers={"Host": "many", "X-Api-Key": str(i)}, timeout=20)
            assert answer.headers["X-Who"] == f"n{i} 1 "
        for other in ("10000", "-1", "00", "0x"):
            assert session.get(gate.base + "/v1/tracks", headers={"Host": "many", "X-Api-Key": other}, timeout=20).status_code == 401


def test_health_and_ready_need_no_key(gate):
    for host in ("keys", "address"):
        for path in ("/health", "/ready"):
            assert ask(gate, host, path, method="GET").status_code == 200


def test_an_unknown_path_needs_no_key_to_be_404(gate):
    assert_problem(ask(gate, "keys", "/v1/nothing"), 404, "not-found")
    assert_problem(ask(gate, "keys", method="GET"), 405, "method-not-allowed")


# ---- to what

NEEDS = [
    ("POST", "/v1/analyze", {"ana", "all", "def"}),
    ("POST", "/v1/fingerprint", {"ana", "ida", "all", "def"}),
    ("POST", "/v1/identify", {"ida", "all", "def"}),
    ("POST", "/v1/monitor", {"ida", "all", "def"}),
    ("GET", "/v1/tracks", {"ida", "cat", "all", "def"}),
    ("GET", "/v1/tracks/none", {"ida", "cat", "all", "def"}),
    ("POST", "/v1/tracks", {"cat", "all"}),
    ("PATCH", "/v1/tracks/none", {"cat", "all"}),
    ("DELETE", "/v1/tracks/none", {"cat", "all"}),
    ("GET", "/metrics", {"opa", "all"}),
]


@pytest.mark.parametrize(("method", "path", "may"), NEEDS)
def test_a_role_opens_its_endpoints_and_no_other(gate, method, path, may):
    for name in ROLES:
        answer = ask(gate, "keys", path, key_of(name), method, data=b"{}" if method == "PATCH" else SOUND)
        if name in may:
            assert answer.status_code in (200, 201, 204, 404, 422), f"{name}: {answer.text}"
        else:
            assert_problem(answer, 403, "forbidden")
            assert "WWW-Authenticate" not in answer.headers


def test_write_open_takes_any_key_and_still_a_key(gate):
    assert_problem(ask(gate, "open", "/v1/tracks/none", method="DELETE"), 401, "unauthenticated")
    assert_problem(ask(gate, "open", "/v1/tracks/none", key_of("ana"), "DELETE"), 404, "not-found")
    assert_problem(ask(gate, "open", "/v1/tracks", key_of("ana"), "GET"), 403, "forbidden")


def test_a_catalog_that_is_read_only_is_so_for_every_key(gate):
    assert_problem(ask(gate, "read", "/v1/tracks/none", key_of("all"), "DELETE"), 403, "forbidden")


def test_keys_are_inherited_and_switched_off(gate):
    assert_problem(ask(gate, "open"), 401)
    assert ask(gate, "off").status_code == 200
    assert ask(gate, "none", key="anything").status_code == 200


def test_no_body_is_asked_for_before_the_key_was_seen(gate):
    """Nor upload memory: the refusal comes before the ticket."""
    with RawConnection(gate.port) as connection:
        connection.send(b"POST /v1/analyze HTTP/1.1\r\nHost: keys\r\nContent-Length: 20000000\r\nExpect: 100-continue\r\n\r\n")
        answer = connection.answer()
    assert answer.status_code == 401


# ---- the variables


def test_the_identity_is_the_keys_name_or_the_address(gate):
    assert ask(gate, "keys", key=key_of("cat")).headers["X-Who"] == "cat 1 gold"
    assert ask(gate, "keys", key=key_of("ana")).headers["X-Who"] == "ana 1 "
    assert ask(gate, "none", key=key_of("ana")).headers["X-Who"] == "127.0.0.1 0 "


def test_the_identity_is_known_where_nothing_is_passed_to_a_pool(gate):
    assert ask(gate, "static", "/", key_of("ana"), "GET").headers["X-Who"] == "ana 1 "
    assert ask(gate, "static", "/", method="GET").headers["X-Who"] == "127.0.0.1 0 "
    assert ask(gate, "static", "/", method="GET").text == "here"


# ---- beside nginx's own


def test_satisfy_any_takes_a_key_or_a_password(gate):
    assert ask(gate, "any", key=key_of("ana")).status_code == 200
    assert ask(gate, "any", headers=basic()).status_code == 200
    for refused in (ask(gate, "any"), ask(gate, "any", key="wrong"), ask(gate, "any", headers=basic(password="wrong"))):
        assert_problem(refused, 401, "unauthenticated")
        challenges = refused.raw.headers.getlist("WWW-Authenticate")
        assert sorted(c.split()[0] for c in challenges) == ["Basic", "Bearer"]


def test_satisfy_any_takes_a_key_where_every_address_is_denied(gate):
    assert ask(gate, "address", key=key_of("ana")).status_code == 200
    assert_problem(ask(gate, "address"), 401, "unauthenticated")
    assert_problem(ask(gate, "address", "/v1/identify", key_of("ana")), 403, "forbidden")


def test_a_password_is_no_key_with_the_role_catalog(gate):
    assert_problem(ask(gate, "any", "/v1/tracks/none", method="DELETE", headers=basic()), 401, "unauthenticated")
    both = basic() | {"X-Api-Key": key_of("ana")}
    assert_problem(ask(gate, "any", "/v1/tracks/none", method="DELETE", headers=both), 403, "forbidden")
    both["X-Api-Key"] = key_of("cat")
    assert_problem(ask(gate, "any", "/v1/tracks/none", method="DELETE", headers=both), 404, "not-found")


def test_satisfy_all_takes_both_with_the_key_in_its_own_header(gate):
    assert_problem(ask(gate, "all", headers=basic()), 401, "unauthenticated")
    assert_problem(ask(gate, "all", headers={"X-Api-Key": key_of("ana")}), 401, "unauthenticated")
    assert ask(gate, "all", headers=basic() | {"X-Api-Key": key_of("ana")}).status_code == 200


def test_auth_request_may_let_in_instead(gate):
    assert_problem(ask(gate, "asked"), 401)
    assert ask(gate, "asked", headers={"X-Let": "in"}).status_code == 200
    assert ask(gate, "asked", key=key_of("ana")).status_code == 200


def test_an_error_page_takes_the_401_over(gate):
    answer = ask(gate, "page")
    assert (answer.status_code, answer.text) == (401, "log in")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sonogate"'


def test_an_internal_redirect_is_asked_for_its_key_too(gate):
    assert_problem(ask(gate, "moved", "/v1/moved"), 401)
    assert ask(gate, "moved", "/v1/moved", key_of("ana")).status_code == 200


# ---- the file


def make_key(*arguments):
    done = subprocess.run([os.path.join(BUILD, "sonogated"), "key", "add", *arguments], capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_key_that_was_added_works_after_a_reload_and_one_that_was_taken_out_does_not(serve, tmp_path_factory):
    folder = reachable_folder(tmp_path_factory, "keyed")
    file = folder / "keys"
    status, old, told = make_key("old", "--file", str(file))
    assert status == 0 and str(file) in told
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    server = serve(location=f"sonogate_keys {file}; {WHO}")
    assert ask(server, "localhost", key=old.strip()).headers["X-Who"] == "old 1 "
    status, new, _ = make_key("new", "--file", str(file), "--roles", "analyze,catalog", "--rate", "gold")
    assert status == 0 and new != old
    assert re.fullmatch(r"sg_[A-Za-z0-9_-]{43}\n", new)
    text = file.read_text()
    assert old.strip() not in text and new.strip() not in text
    file.write_text("".join(line for line in text.splitlines(True) if line.startswith("new ")))
    assert_problem(ask(server, "localhost", key=new.strip()), 401)
    server.reload()
    # Workers of the old configuration may still answer for a moment.
    wait_until(lambda: ask(server, "localhost", key=new.strip()).headers["X-Who"] == "new 1 gold")
    wait_until(lambda: ask(server, "localhost", key=old.strip()).status_code == 401)


def test_without_a_file_the_line_is_printed():
    status, out, _ = make_key("me", "--roles", "ops")
    key, line = out.splitlines()
    assert status == 0
    assert line == f"me {hashlib.sha256(key.encode()).hexdigest()} roles=ops"


@pytest.mark.parametrize("arguments", [("1me",), ("me", "--roles", "root"), ("me", "--rate", "a b"), ("me", "--file", "/nowhere/keys"), ()])
def test_what_cannot_be_added_is_refused(arguments):
    status, out, told = make_key(*arguments)
    assert status != 0 and out == "" and told


def test_a_file_without_a_last_line_break_is_continued(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# keys")
    assert make_key("me", "--file", str(file))[0] == 0
    assert file.read_text().startswith("# keys\nme ")


def test_the_log_tells_of_a_refusal_with_its_request_and_never_of_the_key(gate):
    answer = ask(gate, "keys", key="not-a-key-of-ours")
    assert strict_json(answer)["request_id"] in gate.error_log()
    assert "not-a-key-of-ours" not in gate.error_log()
