"""Bodies on the ASGI side: piece by piece, and in little memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.http import Client, eventually, get, post

from .visits import Visits, visiting

MiB = 1024 * 1024
SIZE = 64 * MiB
#: What 64 MiB on their way may cost; a body in memory would cost all of them.
LITTLE = 24 * MiB
HEAD = (
    b'--limit\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n"
)
TAIL = b"\r\n--limit--\r\n"


@pytest.fixture(params=["twogate asgi", "uvicorn"])
def visits(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Visits]:
    """A server of its own, because memory never shrinks."""
    with visiting(request.param, tmp_path) as served:
        yield served


def read_until(client: Client, marker: bytes) -> bytes:
    data = b""
    while marker not in data:
        piece = client.sock.recv(65536)
        assert piece, data
        data += piece
    return data


@pytest.mark.parametrize("view", ["twice", "twice_from_thread"])
def test_a_piece_arrives_before_the_next_is_made(visits: Visits, view: str) -> None:
    with visits.connect() as client:
        client.send(get(f"/{view}/"))
        first = read_until(client, b"first;")
        assert b"second" not in first
        if view == "twice_from_thread":
            assert b"thread-1 first" in first
        assert visits.ask("/opens/") == b"open"
        assert b"second;" in read_until(client, b"second;")


def test_a_large_file_is_sent_in_little_memory(visits: Visits) -> None:
    visits.ask(f"/file/?size={MiB}")
    state, before = visits.state(), visits.memory()
    assert len(visits.ask(f"/file/?size={SIZE}")) == SIZE
    assert visits.memory("VmHWM") - before < LITTLE
    visits.settles(state)


def test_a_large_file_waits_for_a_slow_client_in_little_memory(visits: Visits) -> None:
    with visits.connect() as client:
        before = visits.memory()
        client.send(get(f"/file/?size={SIZE}"))
        read_until(client, b"\r\n\r\n")
        assert visits.ask("/async_page/") == b"async page"
        assert visits.memory("VmHWM") - before < LITTLE


def test_a_large_upload_goes_through_the_handlers_in_little_memory(visits: Visits) -> None:
    body = bytes(range(256)) * (SIZE // 256)
    digest = hashlib.sha256(body).hexdigest()
    content_type = "Content-Type: multipart/form-data; boundary=limit"
    with visits.connect() as client:
        small = client.ask(post("/upload/", HEAD + b"small" + TAIL, content_type)).body.decode()
        assert small == f"{visits.temporary} {hashlib.sha256(b'small').hexdigest()}"
        eventually(lambda: not (state := visits.state())["temporary"] and not state["notes"])
        before = visits.memory()
        answer = client.ask(post("/upload/", HEAD + body + TAIL, content_type)).body.decode()
    assert answer == f"{visits.temporary} {digest}"
    assert visits.memory("VmHWM") - before < LITTLE
    assert visits.noted(f"{digest} in chunks of 65536")
    eventually(lambda: not (state := visits.state())["temporary"] and not state["open"])
