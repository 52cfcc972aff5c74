"""multipart/form-data: the first part named file, audio or sample is the audio."""

import hashlib

import pytest

from contract import assert_job_answer, assert_problem
from sounds import tone, wav, wav_of_size

FILE = wav(tone(440, 0.5))


def body_of(*parts, boundary="XXboundary", end=True):
    out = b""
    for headers, content in parts:
        out += f"--{boundary}\r\n{headers}\r\n\r\n".encode("latin-1") + content + b"\r\n"
    return out + (f"--{boundary}--\r\n".encode() if end else b"")


def send(server, body, content_type="multipart/form-data; boundary=XXboundary", path="/v1/analyze"):
    return server.post(path, data=body, headers={"Content-Type": content_type})


def file_part(content=FILE, name="file"):
    return (f'Content-Disposition: form-data; name="{name}"; filename="a.wav"\r\nContent-Type: audio/wav', content)


@pytest.mark.parametrize("name", ["file", "audio", "sample"])
def test_the_part_of_that_name_is_the_audio(server, name):
    out = assert_job_answer(send(server, body_of(file_part(name=name))), "analyze")
    assert out["audio"]["sha256"] == hashlib.sha256(FILE).hexdigest()


def test_the_first_such_part_counts(server):
    other = wav(tone(900, 0.5))
    out = assert_job_answer(send(server, body_of(file_part(name="sample"), file_part(other, "file"))), "analyze")
    assert out["peaks"][0]["frequency_hz"] == pytest.approx(440, abs=0.1)


def test_parameters_may_stand_before_and_behind_the_audio(server):
    parts = (
        ('Content-Disposition: form-data; name="fft_size"', b"512"), file_part(),
        ('Content-Disposition: form-data; name="hop"', b"64"), ('Content-Disposition: form-data; name="spectrum"', b"mean"),
    )  # fmt: skip
    spectrum = assert_job_answer(send(server, body_of(*parts)), "analyze")["spectrum"]
    assert (spectrum["fft_size"], spectrum["hop"]) == (512, 64)


@pytest.mark.parametrize("size", [44 + 2, 1000, 4096, 65536, 65537, 1 << 20, 9 << 20])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_audio_comes_out_byte_for_byte(server, size, chunked):
    # Bytes that look like the beginning of the boundary, at many places.
    file = bytearray(wav_of_size(size))
    for at in range(60, size - 20, 997):
        file[at : at + 14] = b"\r\n--XXboundarX"[: max(0, size - at)]
    file = bytes(file[:size])
    body = body_of(file_part(file))
    answer = send(server, iter([body[i : i + 7919] for i in range(0, len(body), 7919)]) if chunked else body)
    assert assert_job_answer(answer, "analyze")["audio"]["sha256"] == hashlib.sha256(file).hexdigest()


def test_curious_but_allowed_forms(server):
    digest = hashlib.sha256(FILE).hexdigest()
    good = [
        (b"preamble to be ignored\r\n" + body_of(file_part()), "multipart/form-data; boundary=XXboundary"),
        (body_of(file_part()) + b"epilogue\r\n", "multipart/form-data; boundary=XXboundary"),
        (body_of(file_part(), boundary="a b:c"), 'multipart/form-data; charset=utf-8; boundary="a b:c"'),
        (body_of(file_part(), boundary="x" * 70), "Multipart/Form-Data; BOUNDARY=" + "x" * 70),
        (body_of(("content-disposition: form-data; filename=a.wav; name=file", FILE)), "multipart/form-data; boundary=XXboundary"),
        (body_of(("X-Other: 1\r\nContent-Disposition: form-data; name=\"file\"", FILE)), "multipart/form-data; boundary=XXboundary"),
        (body_of(("Content-Disposition: form-data; name=\"file\"; filename=\"na;me=\\\"x\\\".wav\"", FILE)), "multipart/form-data; boundary=XXboundary"),
    ]  # fmt: skip
    for body, content_type in good:
        out = assert_job_answer(send(server, body, content_type), "analyze")
        assert out["audio"]["sha256"] == digest, content_type


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 71, 'multipart/form-data; boundary="open', "multipart/form-data; boundary=other"],
)
def test_a_boundary_that_is_missing_or_wrong(server, content_type):
    assert_problem(send(server, body_of(file_part()), content_type), 400, ("malformed-multipart", "missing-audio"))


def test_broken_bodies(server):
    whole = body_of(file_part())
    broken = [
        whole[:-20], whole[: len(whole) // 2], whole[:30], b"--XXboundary\r\n", b"garbage without any boundary",
        body_of(("no colon in this header", FILE)), body_of(("Content-Disposition: form-data", FILE)),
        body_of(("X: " + "y" * 100_000 + "\r\nContent-Disposition: form-data; name=\"file\"", FILE)),
    ]  # fmt: skip
    for body in broken:
        assert_problem(send(server, body), 400, ("malformed-multipart", "missing-audio"))


def test_no_part_of_audio(server):
    body = body_of(('Content-Disposition: form-data; name="title"', b"x"))
    assert_problem(send(server, body), 400, "missing-audio")
    assert_problem(send(server, b"--XXboundary--\r\n"), 400, "missing-audio")
    assert_problem(send(server, body_of(file_part(b""))), 400, "missing-audio")


def test_a_parameter_larger_than_any_may_be(server):
    body = body_of(file_part(), ('Content-Disposition: form-data; name="hop"', b"1" * 300_000))
    answer = send(server, body)
    assert answer.status_code == 400
    assert_problem(answer, 400)


def test_many_parts(server):
    parts = [(f'Content-Disposition: form-data; name="other{i}"', b"x") for i in range(2000)]
    answer = send(server, body_of(*parts, file_part()))
    if answer.status_code == 200:
        assert_job_answer(answer, "analyze")
    else:
        assert_problem(answer, 400, "malformed-multipart")


def test_every_cut_is_answered(server):
    body = body_of(("Content-Disposition: form-data; name=\"hop\"", b"64"), file_part(wav(tone(440, 0.002))))
    for size in range(1, len(body) - 4):
        answer = send(server, body[:size])
        assert_problem(answer, 400, ("malformed-multipart", "missing-audio"))
