"""Pages of other origins against the API, in a real browser."""

import hashlib
import json

import pytest

from page import Pages
from served import Served, reachable_folder, virtual

SECRET = "a secret"
CORS = "sonogate_cors {origin} expose=X-Cookie"
SERVERS = (
    "limit_req_zone $server_name zone=once:1m rate=1r/m; add_header Set-Cookie who=me always; add_header X-Cookie \"$http_cookie;\" always;"
    + virtual("api.gate.test", CORS + ";", "sonogate_catalog write open;")
    + virtual("keyed.gate.test", CORS + ";", "sonogate_keys keys;")
    + virtual("creds.gate.test", CORS + " credentials;")
    + virtual("small.gate.test", CORS + ";", "sonogate_max_body 100;")
    + virtual("limited.gate.test", CORS + ";", "limit_req zone=once; limit_req_status 429;")
    + virtual("star.gate.test", "sonogate_cors *;")
    + virtual("null.gate.test", "sonogate_cors null;")
)  # fmt: skip

# Half a second of a tone as 16-bit WAV, made in the page.
SOUND = """
const api = (name, path, options) => tried(`http://${name}.gate.test:PORT${path}`, options);
const wav = () => {
    const n = 22050, view = new DataView(new ArrayBuffer(44 + 2 * n));
    [0x52494646, 0, 0x57415645, 0x666d7420].forEach((word, i) => view.setUint32(4 * i, word));
    view.setUint32(4, 36 + 2 * n, true); view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
    view.setUint32(24, 44100, true); view.setUint32(28, 88200, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
    view.setUint32(36, 0x64617461); view.setUint32(40, 2 * n, true);
    for (let i = 0; i < n; ++i) view.setInt16(44 + 2 * i, 16000 * Math.sin(2 * Math.PI * 440 * i / 44100), true);
    return new Blob([view.buffer], {type: "audio/wav"});
};
const form = () => { const out = new FormData(); out.append("file", wav(), "tone.wav"); return out; };
const post = {method: "POST"};
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = reachable_folder(tmp_path_factory, "browser")
    (folder / "keys").write_text(f"me {hashlib.sha256(SECRET.encode()).hexdigest()}\n")
    pages = Pages()
    served = Served(folder, http=SERVERS.replace("{origin}", f"http://app.gate.test:{pages.port}"))
    served.pages = pages
    try:
        yield served.start()
    finally:
        served.stop()
        pages.close()


def run(world, host, script):
    return world.pages.run(host, SOUND.replace("PORT", str(world.port)) + script)


def test_a_page_of_a_listed_origin_uses_the_api_and_reads_every_answer(world):
    out = run(world, "app.gate.test", """
        const bearer = (key) => ({headers: {Authorization: `Bearer ${key}`}});
        return {
            form: await api("api", "/v1/analyze?peaks=1", {...post, body: form()}),
            raw: await api("api", "/v1/analyze", {...post, body: wav(), headers: {"X-Request-Id": "from-the-page", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}),
            list: await api("api", "/v1/tracks"),
            deleted: await api("api", "/v1/tracks/none", {method: "DELETE"}),
            nothing: await api("api", "/v1/nothing", {method: "POST", body: "{}", headers: {"Content-Type": "application/json"}}),
            noise: await api("api", "/v1/analyze", {...post, body: "no audio"}),
            large: await api("small", "/v1/analyze", {...post, body: form()}),
            limited: [await api("limited", "/health"), await api("limited", "/health")],
            keyless: await api("keyed", "/v1/analyze", {...post, body: form()}),
            wrong: await api("keyed", "/v1/analyze", {...post, body: form(), ...bearer("wrong")}),
            keyed: await api("keyed", "/v1/analyze", {...post, body: form(), ...bearer("SECRET")}),
            put: await api("api", "/v1/analyze", {method: "PUT", body: "x"}),
            header: await api("api", "/v1/analyze", {...post, body: form(), headers: {"X-Not-Listed": "x"}}),
            star: await api("star", "/health"),
            starred: await api("star", "/health", {credentials: "include"}),
        };""".replace("SECRET", SECRET))  # fmt: skip
    form = json.loads(out["form"]["body"])
    assert out["form"]["status"] == 200
    assert abs(form["peaks"][0]["frequency_hz"] - 440) < 0.1
    assert out["form"]["headers"]["x-request-id"] == form["request_id"]
    assert {"server-timing", "cache-status"} <= set(out["form"]["headers"])
    assert json.loads(out["raw"]["body"])["request_id"] == "from-the-page"
    assert out["list"]["status"] == 200 and "etag" in out["list"]["headers"]
    for name, status, kind in (("deleted", 404, "not-found"), ("nothing", 404, "not-found"), ("noise", 415, "unsupported-format"), ("large", 413, "body-too-large"),
                               ("keyless", 401, "unauthenticated"), ("wrong", 401, "unauthenticated")):  # fmt: skip
        problem = json.loads(out[name]["body"])
        assert (out[name]["status"], problem["type"]) == (status, f"/problems/{kind}")
        assert out[name]["headers"]["x-request-id"] == problem["request_id"]
    assert [one["status"] for one in out["limited"]] == [200, 429]
    assert out["limited"][1]["headers"]["retry-after"]
    assert out["keyed"]["status"] == 200
    # The browser itself refuses what the preflight did not allow.
    assert out["put"] == out["header"] == {"error": "TypeError"}
    assert out["star"]["status"] == 200
    assert out["starred"] == {"error": "TypeError"}


def test_credentials_are_sent_where_they_are_allowed_and_only_if_asked_for(world):
    out = run(world, "app.gate.test", """
        const include = {credentials: "include"};
        await api("creds", "/health", include);     // sets the cookie
        return {
            with: await api("creds", "/v1/analyze", {...post, ...include, body: form(), headers: {"X-Request-Id": "preflighted"}}),
            without: await api("creds", "/health"),
            refused: await api("api", "/health", include),
        };""")  # fmt: skip
    assert out["with"]["status"] == 200
    assert out["with"]["headers"]["x-cookie"] == "who=me;"
    assert out["without"]["headers"]["x-cookie"] == ";"
    assert out["refused"] == {"error": "TypeError"}


def test_a_page_of_another_origin_reads_nothing(world):
    out = run(world, "evil.gate.test", """
        return {
            simple: await api("api", "/v1/analyze", {...post, body: form()}),
            preflighted: await api("api", "/v1/tracks/none", {method: "DELETE"}),
            keyed: await api("keyed", "/v1/analyze", {...post, body: form(), headers: {Authorization: "Bearer SECRET"}}),
            credentials: await api("creds", "/health", {credentials: "include"}),
            missing: await api("api", "/v1/nothing"),
            star: await api("star", "/health"),
        };""".replace("SECRET", SECRET))  # fmt: skip
    assert out.pop("star")["status"] == 200
    assert all(one == {"error": "TypeError"} for one in out.values()), out


def test_a_sandboxed_frame_is_null_and_reads_only_where_null_is_named(world):
    out = run(world, "app.gate.test", """
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-scripts";
        frame.srcdoc = `<script>Promise.all(["null", "api"].map((name) =>
            fetch(\\`http://\\${name}.gate.test:PORT/health\\`).then((a) => a.status, (e) => e.name))).then((r) => parent.postMessage(r, "*"));</scr` + `ipt>`;
        const answer = new Promise((resolve) => addEventListener("message", (event) => resolve(event.data)));
        document.documentElement.append(frame);
        return await answer;""".replace("PORT", str(world.port)))  # fmt: skip
    assert out == [200, "TypeError"]
