"""WebSockets over TCP: the whole server, an application, and the client of another hand."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from twogate.config import Config
from twogate.dispatch import Applications
from twogate.exchange import Exchange
from twogate.gateway.asgi import AsgiApplication
from twogate.observe.observer import Observer
from twogate.server import Server

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
SECONDS = 30.0


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(SECONDS):
                await test(*args, **fixtures)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bounded())

    return run


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


class Watch(Observer):
    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []
        self.failed: list[BaseException] = []
        self.connections = 0

    def connection_opened(self) -> None:
        self.connections += 1

    def connection_closed(self) -> None:
        self.connections -= 1

    def websocket_closed(self, exchange: Exchange, code: int, reason: str, duration: float) -> None:
        self.closed.append((code, reason))

    def application_failed(self, exchange: Exchange, error: BaseException) -> None:
        self.failed.append(error)


class Site:
    """A running server; what its application received is kept."""

    def __init__(self, server: Server, port: int, observer: Watch) -> None:
        self.server = server
        self.port = port
        self.observer = observer
        self._stopped = False

    async def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            await self.server.stop(5.0)

    def connect(self, **options: Any) -> Any:
        url = f"ws://127.0.0.1:{self.port}/room/?a=1"
        return connect(url, proxy=None, **{"max_size": None, "ping_interval": None, **options})


@asynccontextmanager
async def serving(application: AsgiApplication, **options: Any) -> AsyncIterator[Site]:
    """Serve; afterwards nothing may be left over."""
    listener = socket.create_server(("127.0.0.1", 0))
    observer = Watch()
    server = Server(Applications(asgi=application), Config(lifespan="off", **options), observer)
    await server.start([listener])
    site = Site(server, listener.getsockname()[1], observer)
    try:
        yield site
    finally:
        await site.stop()
    assert observer.connections == 0
    assert server.statistics()["tasks"] == 0


class Echo:
    """Sends everything back and remembers how it ended."""

    def __init__(self, **accept: Any) -> None:
        self.accept = accept
        self.events: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            self.events.append(event)
            if event["type"] == "websocket.connect":
                await send({"type": "websocket.accept", **self.accept})
            elif event["type"] == "websocket.receive":
                await send({**event, "type": "websocket.send"})
            else:
                return


@pytest.mark.parametrize("compression", ["deflate", None])
@on_loop
async def test_echo(compression: str | None) -> None:
    async with (
        serving(Echo()) as site,
        site.connect(compression=compression) as client,
    ):
        assert bool(client.protocol.extensions) == bool(compression)
        for message in ("", "text ☃", b"", b"\x00\xff", "x" * 5000, os.urandom(1 << 20)):
            await client.send(message)
            assert await client.recv() == message
        await client.send(["in ", "frag", "ments ☃"])
        assert await client.recv() == "in fragments ☃"
        await client.send([b"x" * 70000, b"y" * 70000])
        assert await client.recv() == b"x" * 70000 + b"y" * 70000
        await (await client.ping())


@on_loop
async def test_compression_can_be_switched_off() -> None:
    async with serving(Echo(), websocket_compression=False) as site, site.connect() as client:
        assert client.protocol.extensions == []


@on_loop
async def test_many_messages_in_flight_keep_their_order() -> None:
    async with serving(Echo()) as site, site.connect() as client:
        sender = asyncio.create_task(_send_numbers(client, 5000))
        assert [await client.recv() for _ in range(5000)] == [str(n) for n in range(5000)]
        await sender


async def _send_numbers(client: ClientConnection, count: int) -> None:
    for number in range(count):
        await client.send(str(number))


@on_loop
async def test_subprotocol_and_headers_on_accept() -> None:
    echo = Echo(subprotocol="v2", headers=[(b"x-room", b"7")])
    async with serving(echo) as site, site.connect(subprotocols=["v1", "v2"]) as client:
        assert client.subprotocol == "v2"
        assert client.response.headers["X-Room"] == "7"


@on_loop
async def test_the_client_s_code_and_reason_arrive() -> None:
    echo = Echo()
    async with serving(echo) as site:
        async with site.connect() as client:
            await client.close(4321, "tschüß")
        await until(lambda: len(echo.events) == 2)
        await until(lambda: not site.observer.connections)
    assert echo.events[-1] == {"type": "websocket.disconnect", "code": 4321, "reason": "tschüß"}
    assert site.observer.closed == [(4321, "tschüß")]


@on_loop
async def test_the_application_s_code_and_reason_arrive() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001, "reason": "full"})

    async with serving(application) as site, site.connect() as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4001, "full")
        assert not site.observer.failed


@on_loop
async def test_a_lost_client_is_1006() -> None:
    echo = Echo()
    async with serving(echo) as site:
        client = await site.connect()
        client.transport.abort()
        await until(lambda: len(echo.events) == 2)
    assert echo.events[-1]["code"] == 1006


@on_loop
async def test_refusals() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})
        assert (await receive())["type"] == "websocket.disconnect"

    async def denial(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain"), (b"retry-after", b"9")]
        kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": 429, "headers": headers})
        await send({"type": f"{kind}.body", "body": b"too ", "more_body": True})
        await send({"type": f"{kind}.body", "body": b"many"})

    async def broken(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        raise ValueError("a bug")

    expected = [(application, 403, None), (denial, 429, b"too many"), (broken, 500, None)]
    for refusing, status, body in expected:
        async with serving(refusing) as site:
            with pytest.raises(InvalidStatus) as caught:
                await site.connect()
            response = caught.value.response
            assert response.status_code == status
            assert body is None or response.body == body
            assert bool(site.observer.failed) == (status == 500)


@pytest.mark.parametrize(
    ("old", "new", "status", "header"),
    [
        (b"Version: 13", b"Version: 8", 426, b"Sec-WebSocket-Version: 13"),
        (b"Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Key: AAAA", 400, b"Connection: close"),
        (b"GET", b"POST", 405, b"Allow: GET"),
    ],
)
@on_loop
async def test_a_wrong_handshake(old: bytes, new: bytes, status: int, header: bytes) -> None:
    async with serving(Echo()) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(HANDSHAKE.replace(old, new))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\n" + header + b"\r\n" in answer


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@on_loop
async def test_what_a_client_sends_before_the_answer_is_not_lost() -> None:
    gate = asyncio.Event()
    echo = Echo()

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await gate.wait()
        await echo(scope, receive, send)

    async with serving(application) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(HANDSHAKE + b"\x81\x82\0\0\0\0hi")
        await asyncio.sleep(0.05)
        writer.write(b"\x81\x82\0\0\0\0ho")
        gate.set()
        answer = await reader.readuntil(b"ho")
        assert answer.endswith(b"\r\n\r\n\x81\x02hi\x81\x02ho")
        writer.close()
        await writer.wait_closed()


@on_loop
async def test_an_application_that_raises_is_1011() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise ValueError("a bug")

    async with serving(application) as site, site.connect() as client:
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert client.close_code == 1011
        assert [type(error) for error in site.observer.failed] == [ValueError]


@pytest.mark.parametrize("compression", ["deflate", None])
@on_loop
async def test_a_message_that_is_too_big_is_1009(compression: str | None) -> None:
    echo = Echo()
    async with serving(echo, websocket_max_message_size=100_000) as site:
        async with site.connect(compression=compression) as client:
            await client.send(bytes(100_000))
            assert len(await client.recv()) == 100_000
            with pytest.raises(ConnectionClosedError):
                await client.send(bytes(10_000_000))
                await client.recv()
            assert client.close_code == 1009
        await until(lambda: site.observer.closed)
    assert echo.events[-1]["code"] == 1009


@on_loop
async def test_text_that_is_not_utf8_is_1007() -> None:
    async with serving(Echo()) as site, site.connect() as client:
        await client.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert client.close_code == 1007


@on_loop
async def test_a_client_that_answers_pings_stays_and_a_dead_one_goes() -> None:
    echo = Echo()
    # The shortest timeout sets how often the sweep looks.
    options = {"websocket_ping_interval": 0.2, "websocket_ping_timeout": 0.2, "body_timeout": 0.2}
    async with serving(echo, **options) as site:
        alive = await site.connect()
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        rest = await reader.read()
        assert rest.startswith(b"\x89\x00")
        await until(lambda: site.observer.closed)
        assert site.observer.closed == [(1006, "no answer to a ping")]
        await alive.send("still here")
        assert await alive.recv() == "still here"
        await alive.close()
        writer.close()


@on_loop
async def test_a_slow_reader_stops_the_application() -> None:
    sent: list[int] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        for number in range(400):
            await send({"type": "websocket.send", "bytes": bytes(1 << 18)})
            sent.append(number)

    async with serving(application) as site:
        async with site.connect(compression=None, max_queue=1) as client:
            await until(lambda: sent)
            # Stopped means: the number does not change while others could run for a while.
            before = -1
            while before != len(sent):
                before = len(sent)
                await asyncio.sleep(0.2)
            assert before < 100
            for _ in range(400):
                assert len(await client.recv()) == 1 << 18
        assert len(sent) == 400


@on_loop
async def test_a_slow_application_stops_the_client() -> None:
    gate = asyncio.Event()
    received: list[int] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await gate.wait()
        while (event := await receive())["type"] == "websocket.receive":
            received.append(len(event["bytes"]))

    async with serving(application) as site:
        async with site.connect(compression=None) as client:
            sent = 0
            with pytest.raises(TimeoutError):
                while True:
                    async with asyncio.timeout(0.3):
                        await client.send(bytes(1 << 18))
                    sent += 1
            assert sent < 200
            gate.set()
        await until(lambda: len(received) >= sent)


@on_loop
async def test_shutdown_is_1012_and_the_application_ends_in_its_own_time() -> None:
    ended: list[int] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        ended.append((await receive())["code"])
        await asyncio.sleep(0.1)
        ended.append(0)

    async with serving(application) as site:
        clients = [await site.connect() for _ in range(3)]
        await site.stop()
        for client in clients:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1012
    assert sorted(ended) == [0, 0, 0, 1012, 1012, 1012]


@on_loop
async def test_a_hundred_clients_that_vanish_leave_nothing() -> None:
    echo = Echo()
    async with serving(echo) as site:
        before = _open_files()
        for _ in range(10):
            clients = await asyncio.gather(*(site.connect() for _ in range(10)))
            for client in clients:
                client.transport.abort()
        await until(lambda: not site.observer.connections)
        await until(lambda: not site.server.statistics()["tasks"])
        await until(lambda: _open_files() <= before)
    assert len(site.observer.closed) == 100


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


CHANNELS = """
import asyncio, json, socket, sys
import django
from django.conf import settings
settings.configure(SECRET_KEY="x", INSTALLED_APPS=["channels"], DATABASES={}, CHANNEL_LAYERS={
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})
django.setup()
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path
from twogate.config import Config
from twogate.dispatch import Applications
from twogate.observe.observer import Observer
from twogate.server import Server

def tell(*what):
    print(json.dumps(what), flush=True)

class Chat(AsyncWebsocketConsumer):
    async def connect(self):
        if self.scope["url_route"]["kwargs"]["room"] == "secret":
            await self.close()
            return
        await self.channel_layer.group_add("chat", self.channel_name)
        await self.accept()
    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "leave":
            await self.close(code=4100)
        elif text_data == "fail":
            raise ValueError("a bug")
        else:
            await self.channel_layer.group_send("chat", {"type": "chat.message", "text": text_data})
    async def chat_message(self, event):
        await self.send(text_data=event["text"])
    async def disconnect(self, code):
        tell("disconnect", code)
        await self.channel_layer.group_discard("chat", self.channel_name)

class Watch(Observer):
    def application_failed(self, exchange, error):
        tell("failed", type(error).__name__)

async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    router = URLRouter([path("chat/<room>/", Chat.as_asgi())])
    applications = Applications(asgi=ProtocolTypeRouter({"websocket": router}))
    server = Server(applications, Config(lifespan="off"), Watch())
    await server.start([listener])
    tell("port", listener.getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await server.stop(5.0)
    tell("tasks", server.statistics()["tasks"])

asyncio.run(main())
"""


class Channels:
    """A process that serves a Channels consumer and says what happens to it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CHANNELS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        )

    async def said(self) -> Any:
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        return json.loads(line) if line else None

    async def stop(self) -> list[Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        rest = []
        while (said := await self.said()) is not None:
            rest.append(said)
        return rest

    def __enter__(self) -> Channels:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@on_loop
async def test_a_channels_consumer() -> None:
    with Channels() as channels:
        _, port = await channels.said()

        def join(room: str) -> Any:
            return connect(f"ws://127.0.0.1:{port}/chat/{room}/", proxy=None)

        first, second = await join("a"), await join("a")
        await first.send("hello")
        assert [await first.recv(), await second.recv()] == ["hello", "hello"]
        await first.close(4099)
        assert await channels.said() == ["disconnect", 4099]
        await second.send("leave")
        with pytest.raises(ConnectionClosed):
            await second.recv()
        assert second.close_code == 4100
        assert await channels.said() == ["disconnect", 4100]

        with pytest.raises(InvalidStatus) as caught:
            await join("secret")
        assert caught.value.response.status_code == 403
        assert await channels.said() == ["disconnect", 1006]

        failing = await join("a")
        await failing.send("fail")
        with pytest.raises(ConnectionClosedError):
            await failing.recv()
        assert failing.close_code == 1011
        assert await channels.said() == ["failed", "ValueError"]

        third = await join("a")
        rest = await channels.stop()
        with pytest.raises(ConnectionClosed):
            await third.recv()
        assert third.close_code == 1012
        assert rest == [["disconnect", 1012], ["tasks", 0]]
