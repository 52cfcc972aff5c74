"""The catalog: create, read, list, change, delete; and what survives."""

import base64
import hashlib
import json
import re
import time
import uuid

import pytest

from contract import assert_job_answer, assert_problem, strict_json
from sounds import music, wav

SONG = wav(music(100, 15))
OTHER = wav(music(101, 15))


def new_id(prefix="t"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def seed_of(track_id):
    return 10_000 + int(hashlib.sha256(track_id.encode()).hexdigest()[:6], 16)


def create(server, file=SONG, status=201, **parameters):
    answer = server.post("/v1/tracks", params=parameters, data=file)
    assert answer.status_code == status, answer.text
    return answer


@pytest.fixture
def track(server):
    track_id = new_id()
    answer = create(server, wav(music(seed_of(track_id), 12)), track_id=track_id, title="A Title", artist="Ä", album="ü", isrc="GBAYE0601498", metadata='{"a":[1,{"b":null}]}')
    yield answer.json()
    server.request("DELETE", f"/v1/tracks/{track_id}")


def test_a_new_track_is_201_with_location(server):
    track_id = new_id()
    file = wav(music(102, 15))
    answer = create(server, file, track_id=track_id, title="T")
    assert answer.headers["Location"].endswith(f"/v1/tracks/{track_id}")
    out = strict_json(answer)
    assert (out["track_id"], out["title"]) == (track_id, "T")
    assert out["duration_s"] == pytest.approx(15, abs=0.01)
    assert out["hashes"] > 100
    assert out["sha256"] == hashlib.sha256(file).hexdigest()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", out["created_at"])
    assert out["metadata"] == {}
    assert server.get(answer.headers["Location"].removeprefix(server.base)).json()["track_id"] == track_id


def test_a_track_without_an_id_gets_one(server):
    first, second = (create(server, wav(music(103 + i, 12))).json()["track_id"] for i in range(2))
    assert first != second
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", first)


def test_the_same_id_with_the_same_audio_is_200_and_changes_nothing(server, track):
    file = wav(music(seed_of(track["track_id"]), 12))
    answer = create(server, file, 200, track_id=track["track_id"], title="Another Title")
    assert answer.json()["title"] == "A Title"


def test_the_same_id_with_other_audio_is_409(server, track):
    assert_problem(server.post("/v1/tracks", params={"track_id": track["track_id"]}, data=OTHER), 409, "track-exists")
    assert server.get(f"/v1/tracks/{track['track_id']}").json()["sha256"] == track["sha256"]


def test_texts_come_back_as_they_were_sent(server, track):
    got = strict_json(server.get(f"/v1/tracks/{track['track_id']}"))
    assert (got["artist"], got["album"], got["isrc"], got["metadata"]) == ("Ä", "ü", "GBAYE0601498", {"a": [1, {"b": None}]})
    for name in ("track_id", "title", "duration_s", "hashes", "sha256", "created_at"):
        assert got[name] == track[name]


def test_parts_of_a_form_name_a_track_too(server):
    track_id = new_id()
    answer = server.post("/v1/tracks", files={"file": SONG, "track_id": (None, track_id), "title": (None, "from a form ✓")})
    assert answer.status_code == 201
    assert strict_json(answer)["title"] == "from a form ✓"


def test_json_names_a_track_too(server):
    track_id = new_id()
    body = {"audio": base64.b64encode(wav(music(110, 12))).decode(), "track_id": track_id, "title": "from JSON", "metadata": {"year": 1999}}
    answer = server.post("/v1/tracks", json=body)
    assert answer.status_code == 201, answer.text
    assert strict_json(answer)["track_id"] == track_id
    assert answer.headers["Location"].endswith(track_id)
    assert server.get(f"/v1/tracks/{track_id}").json()["metadata"] == {"year": 1999}


@pytest.mark.parametrize("track_id", ["a b", "a/b", "ä", "x" * 129, "", "a\nb", "a\0b"])
def test_a_bad_id_is_refused(server, track_id):
    assert_problem(server.post("/v1/tracks", params={"track_id": track_id}, data=SONG), 400, "invalid-parameter", "track_id")


@pytest.mark.parametrize("track_id", ["A.b_c:1-2", "x" * 128, "..", "-"])
def test_a_curious_but_good_id_is_taken(server, track_id):
    create(server, SONG, track_id=track_id)
    assert server.request("DELETE", f"/v1/tracks/{track_id}" if track_id != ".." else "/v1/tracks/%2E%2E").status_code in (204, 404)


@pytest.mark.parametrize(
    ("name", "value"),
    [("title", "x" * 513), ("artist", "ä" * 513), ("album", "x" * 513), ("metadata", "[]"), ("metadata", "{"), ("metadata", '"x"'), ("metadata", '{"a":"' + "x" * 16400 + '"}')],
    ids=lambda v: v[:10],
)
def test_bad_texts_are_refused_by_name(server, name, value):
    answer = server.post("/v1/tracks", files={"file": SONG, name: (None, value)})
    assert_problem(answer, 400, "invalid-parameter", name)


def test_512_characters_are_not_too_many(server):
    for title in ("x" * 512, "ä" * 512, "\U0001f3b5" * 512):
        answer = server.post("/v1/tracks", files={"file": SONG, "title": (None, title), "track_id": (None, new_id())})
        assert answer.status_code == 201, answer.text
        assert answer.json()["title"] == title


def test_text_that_is_not_utf_8_is_refused(server):
    answer = server.post("/v1/tracks?title=%ff%fe", data=SONG)
    assert_problem(answer, 400, "invalid-parameter", "title")


def test_patch_changes_what_it_names_alone(server, track):
    path = f"/v1/tracks/{track['track_id']}"
    answer = server.request("PATCH", path, json={"title": "New", "metadata": {"x": 1}})
    assert answer.status_code == 200, answer.text
    got = server.get(path).json()
    assert (got["title"], got["metadata"], got["artist"], got["sha256"]) == ("New", {"x": 1}, "Ä", track["sha256"])
    assert_problem(server.request("PATCH", path, data="{", headers={"Content-Type": "application/json"}), 400, "malformed-json")
    assert_problem(server.request("PATCH", path, json={"title": "x" * 513}), 400, "invalid-parameter", "title")
    assert_problem(server.request("PATCH", path, json={"title": 7}), 400, "invalid-parameter", "title")
    assert server.get(path).json()["title"] == "New"
    assert_problem(server.request("PATCH", f"/v1/tracks/{new_id()}", json={"title": "x"}), 404, "not-found")


def test_an_etag_saves_the_answer_until_it_changes(server, track):
    path = f"/v1/tracks/{track['track_id']}"
    etag = server.get(path).headers["ETag"]
    same = server.get(path, headers={"If-None-Match": etag})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["ETag"] == etag
    assert server.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert server.get(path, headers={"If-None-Match": f'"other", {etag}'}).status_code == 304
    server.request("PATCH", path, json={"title": "changed"})
    assert server.get(path, headers={"If-None-Match": etag}).status_code == 200
    assert server.get("/v1/tracks").headers["ETag"]


def test_head_has_the_headers_of_get(server, track):
    path = f"/v1/tracks/{track['track_id']}"
    get, head = server.get(path), server.request("HEAD", path)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["ETag"] == get.headers["ETag"]


def test_a_deleted_track_is_gone(server):
    track_id = new_id()
    create(server, SONG, track_id=track_id)
    path = f"/v1/tracks/{track_id}"
    answer = server.request("DELETE", path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(server.get(path), 404, "not-found")
    assert_problem(server.request("DELETE", path), 404, "not-found")
    create(server, OTHER, track_id=track_id)  # the id is free again, for other audio too


def test_listing_pages_through_everything_once(serve):
    server = serve()
    assert strict_json(server.get("/v1/tracks"))["tracks"] == []
    ids = [f"track-{i:02}" for i in range(23)]
    for i, track_id in enumerate(ids):
        create(server, wav(music(200 + i, 6)), track_id=track_id, title=f"Song {i}", artist="Even" if i % 2 == 0 else "Odd")
    seen, cursor = [], None
    while True:
        page = strict_json(server.get("/v1/tracks", params={"limit": 5} | ({"cursor": cursor} if cursor else {})))
        assert len(page["tracks"]) <= 5
        seen += [t["track_id"] for t in page["tracks"]]
        cursor = page.get("next_cursor")
        if not cursor:
            break
    assert sorted(seen) == ids
    found = server.get("/v1/tracks", params={"q": "odd", "limit": 50}).json()["tracks"]
    assert sorted(t["track_id"] for t in found) == ids[1::2]
    assert server.get("/v1/tracks", params={"q": "no such"}).json()["tracks"] == []
    for name, value in (("limit", "0"), ("limit", "x"), ("cursor", "!!")):
        assert_problem(server.get("/v1/tracks", params={name: value}), 400, "invalid-parameter", name)


def test_writing_needs_write_open(serve):
    server = serve(location="} location /v1/tracks { sonogate_pass main; sonogate_catalog read;")
    assert server.get("/v1/tracks").status_code == 200
    for answer in (server.post("/v1/tracks", data=SONG), server.request("DELETE", "/v1/tracks/x"), server.request("PATCH", "/v1/tracks/x", json={})):
        assert_problem(answer, 403, "forbidden")


def test_acknowledged_tracks_survive_kill_9_of_everything(serve):
    server = serve()
    kept, deleted = {}, []
    for i in range(8):
        track_id = f"k{i}"
        create(server, wav(music(300 + i, 12)), track_id=track_id, title=f"Title {i}")
        if i % 3 == 2:
            assert server.request("DELETE", f"/v1/tracks/{track_id}").status_code == 204
            deleted.append(track_id)
        else:
            kept[track_id] = 300 + i
    assert server.request("PATCH", "/v1/tracks/k0", json={"title": "Patched"}).status_code == 200
    server.kill_all()  # the moment the last answer is out
    server.start()
    for track_id, seed in kept.items():
        got = server.get(f"/v1/tracks/{track_id}")
        assert got.status_code == 200
        out = assert_job_answer(server.post("/v1/identify", data=wav(music(seed, 12)[88200:441000])), "identify")
        assert out["match"] is True and out["matches"][0]["track_id"] == track_id
    assert server.get("/v1/tracks/k0").json()["title"] == "Patched"
    for track_id in deleted:
        assert_problem(server.get(f"/v1/tracks/{track_id}"), 404, "not-found")
    out = assert_job_answer(server.post("/v1/identify", data=wav(music(302, 12)[88200:441000])), "identify")
    assert not any(m["track_id"] in deleted for m in out["matches"])


def test_repeated_kills_while_enrolling_lose_nothing_acknowledged(serve):
    server = serve()
    acknowledged = []
    for i in range(12):
        track_id = f"r{i}"
        if i % 3 == 1:
            (librarian,) = server.pids("sonogated: librarian")
            server.kill(librarian)
        deadline = time.monotonic() + 30
        while True:
            answer = server.post("/v1/tracks", params={"track_id": track_id}, data=wav(music(400 + i, 8)))
            if answer.status_code in (200, 201):
                break
            assert_problem(answer, 503)
            assert time.monotonic() < deadline
            time.sleep(0.2)
        acknowledged.append(track_id)
    listed = [t["track_id"] for t in server.get("/v1/tracks", params={"limit": 50}).json()["tracks"]]
    assert sorted(listed) == sorted(acknowledged)


def test_an_answer_about_tracks_is_plain_json(server, track):
    raw = server.get(f"/v1/tracks/{track['track_id']}")
    assert raw.headers["Content-Type"].split(";")[0] == "application/json"
    assert json.loads(raw.content)
