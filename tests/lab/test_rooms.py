"""Recordings by room: what is kept, for how long, and what became of a message."""

from __future__ import annotations

import contextlib
import gc
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.http import Serving, eventually, get
from websockets.sync.client import ClientConnection, connect

from twogate.config import Config
from twogate.dispatch import Applications
from twogate.lab import rooms
from twogate.lab.rooms import Rooms, leaving, publishing
from twogate.trace.recorder import current


def room_of(path: str) -> str | None:
    return path.split("/")[2] if path.startswith("/room/") else None


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"].endswith("/say"):
        with publishing("abc"):
            pass
    start_response("200 OK", [])
    return []


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    here = current()
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        with leaving(message["text"], here):
            await send({"type": "websocket.send", "text": message["text"]})


@pytest.fixture
def found() -> Rooms:
    return Rooms(room_of)


@pytest.fixture
def server(found: Rooms) -> Iterator[Serving]:
    applications = Applications(wsgi, asgi)
    found.tracer.record(applications)
    config = Config(lifespan="off")
    server = Serving(applications, config, socket.AF_INET, ("127.0.0.1", 0))
    server.start()
    yield server
    server.close()


@contextlib.contextmanager
def opened(server: Serving, path: str) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{server.address[1]}{path}", proxy=None) as client:
        yield client


def paths(found: Rooms, room: str) -> list[str]:
    return [row["path"] for row in found.rows(room)]


def test_each_room_has_its_own(server: Serving, found: Rooms) -> None:
    for path in ("/room/1/a", "/elsewhere", "/room/2/b", "/room/1/c"):
        server.ask(get(path))
    eventually(lambda: len(found.rows("1")) == 2)
    assert paths(found, "1") == ["/room/1/c", "/room/1/a"]
    assert paths(found, "2") == ["/room/2/b"]
    assert found.rows("3") == []
    (row,) = found.rows("2")
    document = found.document("2", row["id"])
    assert document is not None and document["request"]["path"] == "/room/2/b"
    assert found.document("1", row["id"]) is None


def test_what_became_of_a_message(server: Serving, found: Rooms) -> None:
    server.ask(get("/room/1/say"))
    eventually(lambda: found.rows("1"))
    assert found.rows("1")[0]["tell"][-1] == "Its message has left through no WebSocket."
    with opened(server, "/room/1/hear") as one, opened(server, "/room/2/hear") as other:
        one.send("abc")
        other.send("abc")
        assert (one.recv(15), other.recv(15)) == ("abc", "abc")
        hears, says = found.rows("1")
        assert says["tell"][-1].startswith("Its message left through 1 WebSocket of the ASGI")
        assert (hears["open"], hears["status"], hears["gateway"]) == (True, 101, "asgi")
        assert "still open. Messages: 1 in, 1 out." in hears["tell"][0]
    eventually(lambda: not found.rows("1")[0]["open"])
    closed = found.rows("1")[0]
    assert closed["id"] == hears["id"]
    assert "closed. Messages: 1 in, 1 out." in closed["tell"][0]


def test_nothing_is_told_of_a_message_where_recordings_are_cut(
    server: Serving, found: Rooms
) -> None:
    server.ask(get("/room/1/say"))
    with opened(server, "/room/1/hear") as client:
        for _ in range(rooms._SPANS):
            client.send("other")
            client.recv(15)
    eventually(lambda: len(found.rows("1")) == 2 and not found.rows("1")[0]["open"])
    assert not any("Its message" in told for row in found.rows("1") for told in row["tell"])


def test_what_is_kept_is_bounded(
    server: Serving, found: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_REQUESTS", 3)
    monkeypatch.setattr(rooms, "_ROOMS", 2)
    for number in range(5):
        server.ask(get(f"/room/1/{number}"))
    eventually(lambda: paths(found, "1") == [f"/room/1/{number}" for number in (4, 3, 2)])
    first = weakref.ref(found._kept["1"][0])
    for room in ("2", "3"):
        server.ask(get(f"/room/{room}/"))
    eventually(lambda: found.rows("3"))
    assert found.rows("1") == []
    gc.collect()
    assert first() is None
    assert len(found._entries) <= 2
