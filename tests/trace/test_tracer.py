"""A server with a tracer: one complete recording for each request, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.http import Serving, eventually, get, post
from tests.support.shell import PROJECT, SOURCE
from websockets.sync.client import connect

from twogate.config import Config
from twogate.dispatch import Applications
from twogate.trace.recorder import Recording, current, span
from twogate.trace.tracer import Tracer


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    with span("view", environ["PATH_INFO"]):
        if environ["PATH_INFO"] == "/wrong":
            raise LookupError("not here")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read() or b"hello"]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    with span("view", scope["path"]):
        if scope["path"] == "/wrong":
            raise LookupError("not here")
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body", False):
            message = await receive()
            body += message.get("body", b"")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body or b"hello"})


@contextlib.contextmanager
def traced(gateway: str, limit: int = 100) -> Iterator[tuple[Serving, list[Recording]]]:
    kept: list[Recording] = []
    with serving(Tracer(kept.append, limit), asgi, gateway) as server:
        yield server, kept


@contextlib.contextmanager
def serving(tracer: Tracer, asgi: Any, gateway: str = "auto") -> Iterator[Serving]:
    applications = Applications(tracer.wsgi(wsgi), tracer.asgi(asgi), tracer=tracer)
    config = Config(gateway=gateway, lifespan="off")
    server = Serving(applications, config, socket.AF_INET, ("127.0.0.1", 0))
    server.start()
    try:
        yield server
    finally:
        server.close()
    assert tracer._open == {}


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_a_request_from_its_head_to_its_end(gateway: str) -> None:
    with traced(gateway) as (server, kept):
        assert server.ask(get("/a?b=c")).body == b"hello"
        eventually(lambda: kept)
    (recording,) = kept
    kinds = [found.kind for found in recording.spans]
    assert kinds[:2] == ["request", "dispatch"]
    assert set(kinds) >= {"gateway", "view", "response"}
    assert ("wait" in kinds) == (gateway == "wsgi")
    assert recording.spans[0].name == "GET /a?b=c"
    assert all(found.end >= found.start for found in recording.spans)
    facts = recording.facts
    assert (facts["gateway"], facts["status"], facts["body_sent"]) == (gateway, 200, 5)
    assert "opened" not in facts
    view = next(found for found in recording.spans if found.kind == "view")
    assert view.parent is not None and view.parent.kind == "gateway"


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_a_body_that_comes_late(gateway: str) -> None:
    with traced(gateway) as (server, kept), server.connect() as client:
        request = post("/", b"x" * 1000)
        client.send(request[:-500])
        eventually(lambda: server.statistics()["connections"] == 1)
        client.send(request[-500:])
        assert client.response().status == 200
        eventually(lambda: kept)
    assert kept[0].facts["body_received"] == 1000
    assert "view" in [found.kind for found in kept[0].spans]


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_an_application_that_fails(gateway: str) -> None:
    with traced(gateway) as (server, kept):
        assert server.ask(get("/wrong")).status == 500
        eventually(lambda: kept)
    assert kept[0].facts["error"] == "LookupError: not here"
    assert kept[0].facts["status"] == 500


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_requests_of_one_connection_are_told_apart(gateway: str) -> None:
    with traced(gateway) as (server, kept):
        with server.connect() as client:
            for name in ("/one", "/two", "/three"):
                client.ask(get(name))
        eventually(lambda: len(kept) == 3)
    for recording, name in zip(kept, ("/one", "/two", "/three"), strict=True):
        views = [found.name for found in recording.spans if found.kind == "view"]
        assert views == [name]
    assert current() is None


def test_what_the_server_answers_itself() -> None:
    with traced("asgi") as (server, kept):
        assert server.ask(get("*", method="OPTIONS")).status == 204
        eventually(lambda: kept)
    assert kept[0].facts["gateway"] == "server"


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_a_client_that_leaves(gateway: str) -> None:
    with traced(gateway) as (server, kept):
        with server.connect() as client:
            client.send(post("/", b"x" * 1000)[:-500])
            eventually(lambda: server.statistics()["connections"] == 1)
        eventually(lambda: server.statistics()["connections"] == 0)
        eventually(lambda: kept)


def test_recordings_are_bounded() -> None:
    with traced("asgi", limit=3) as (server, kept):
        server.ask(get("/"))
        eventually(lambda: kept)
    assert len(kept[0].spans) == 3
    assert kept[0].left_out == 2


def test_what_is_not_wanted_is_served_and_not_recorded() -> None:
    kept: list[Recording] = []
    tracer = Tracer(kept.append, wanted=lambda exchange: exchange.head.raw_path != b"/dull")
    with serving(tracer, asgi) as server:
        assert server.ask(get("/dull")).body == b"hello"
        server.ask(get("/one"))
        eventually(lambda: kept)
    assert [recording.spans[0].name for recording in kept] == ["GET /one"]


def test_websockets_that_are_open() -> None:
    """One of them makes a task that sends through all: what it sends is in each one's recording."""
    kept: list[Recording] = []
    sends: list[Any] = []
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def repeat() -> None:
        while text := await heard.get():
            for send in sends:
                await send({"type": "websocket.send", "text": text})

    async def chat(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if not sends:
            tasks.append(asyncio.create_task(repeat()))
        sends.append(send)
        while (message := await receive())["type"] == "websocket.receive":
            heard.put_nowait(message["text"])
        sends.remove(send)

    tasks: list[Any] = []
    tracer = Tracer(kept.append)
    with serving(tracer, chat) as server:
        address = f"ws://127.0.0.1:{server.address[1]}/"
        with connect(address, proxy=None) as one, connect(address, proxy=None) as other:
            one.send("hello")
            assert (one.recv(15), other.recv(15)) == ("hello", "hello")
            under_way = tracer.under_way()
            states = [(found.facts["gateway"], found.facts["status"]) for found in under_way]
            assert states == [("asgi", 101)] * 2
            assert kept == []
        eventually(lambda: len(kept) == 2)
        assert tracer.under_way() == []
        server.run(lambda: heard.put_nowait(""))
    assert set(kept) == set(under_way)
    for recording in kept:
        assert "sends websocket.send" in [found.name for found in recording.spans]
        parents = [found.parent for found in recording.spans[1:]]
        assert all(found is not None and found.recording is recording for found in parents)


def test_without_a_tracer_nothing_of_it_is_there(tmp_path: Path) -> None:
    """What traces cost when they are off: nothing is wrapped and nothing is imported."""
    code = """
        import sys
        from asgiref.sync import AsyncToSync, SyncToAsync
        before = [SyncToAsync.__call__, SyncToAsync.thread_handler, AsyncToSync.__call__]
        from twogate.config import Config
        from twogate.django import middleware
        from twogate.django.project import load
        from twogate.server import Server
        from django.db.backends.utils import CursorWrapper
        applications = load(Config())
        assert applications.tracer is None
        assert middleware._watch is None
        assert CursorWrapper._execute_with_wrappers.__module__ == "django.db.backends.utils"
        after = [SyncToAsync.__call__, SyncToAsync.thread_handler, AsyncToSync.__call__]
        assert before == after
        assert [name for name in sys.modules if name.startswith("twogate.trace")] == []
    """
    for name, content in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, text=True,
        capture_output=True, timeout=60, env={"PYTHONPATH": str(SOURCE)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
