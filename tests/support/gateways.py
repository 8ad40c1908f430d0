"""A whole server on a thread, and a plain client: real sockets on loopback, no application of ours.

``serve(wsgi=application)`` starts :class:`twogate.server.Server` on a loop of its own; what its
observer hears is kept in :class:`Recorder`.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from twogate.config import Config
from twogate.dispatch import Applications, Chooser
from twogate.exchange import Exchange
from twogate.observe.observer import Observer
from twogate.server import Server

__all__ = [
    "Recorder",
    "Reply",
    "Served",
    "StartResponse",
    "head_of",
    "serve",
    "wait_for",
]

StartResponse = Callable[..., Callable[[bytes], None]]
T = TypeVar("T")

#: Seconds after which a test that waits has failed.
PATIENCE = 15.0


def wait_for(condition: Callable[[], T], what: str = "") -> T:
    """The first true value of ``condition()``."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what or condition}"
        time.sleep(0.005)
    return value


class Recorder(Observer):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.finished: list[Exchange] = []

    def application_failed(self, exchange: Exchange, error: BaseException) -> None:
        self.failures.append(error)

    def request_finished(self, exchange: Exchange, duration: float) -> None:
        self.finished.append(exchange)

    def the_failure(self) -> BaseException:
        """The one failure there was; waits for it."""
        wait_for(lambda: self.failures, "a failure")
        assert len(self.failures) == 1, self.failures
        return self.failures[0]


@dataclass
class Reply:
    """One response as it came over the wire."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    #: The body ended before its framing said so.
    cut: bool = False

    def header(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


class Client:
    """One connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=PATIENCE)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reply(self, method: str = "GET") -> Reply:
        """Read one response."""
        response = http.client.HTTPResponse(self.sock, method=method)
        response.begin()
        cut = False
        try:
            body = response.read()
        except http.client.IncompleteRead as error:
            body, cut = error.partial, True
        except ConnectionResetError:
            body, cut = b"", True
        return Reply(response.status, response.reason, response.getheaders(), body, cut)

    def read_until(self, marker: bytes) -> bytes:
        """Read until the marker has come, or the end."""
        data = b""
        while marker not in data and (piece := self.sock.recv(65536)):
            data += piece
        return data

    def is_closed(self) -> bool:
        """Waits for the server to close; true when it did without another byte."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Go away without a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


def head_of(
    target: str = "/",
    method: str = "GET",
    headers: tuple[tuple[str, str], ...] = (),
    version: str = "1.1",
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: testserver"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class Served:
    """A running server."""

    loop: asyncio.AbstractEventLoop
    server: Server
    address: tuple[str, int]
    observer: Recorder = field(default_factory=Recorder)

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        client = Client(self.address)
        try:
            yield client
        finally:
            client.close()

    def request(
        self,
        target: str = "/",
        method: str = "GET",
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        version: str = "1.1",
    ) -> Reply:
        """One request on a connection of its own."""
        if body and not any(name.lower() == "transfer-encoding" for name, _ in headers):
            headers = (*headers, ("Content-Length", str(len(body))))
        with self.client() as client:
            client.send(head_of(target, method, headers, version) + body)
            return client.reply(method)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def statistics(self) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            return self.server.statistics()

        return self.run(ask())

    def settles(self) -> None:
        """Wait until nothing of any client is left on the server."""

        def settled() -> bool:
            statistics = self.statistics()
            busy = statistics["threads"].busy + statistics["threads"].queue
            return not (statistics["connections"] or statistics["tasks"] or busy)

        wait_for(settled, "the server to let go of its clients")


@contextlib.contextmanager
def serve(
    wsgi: Callable[..., Any] | None = None,
    asgi: Callable[..., Awaitable[None]] | None = None,
    chooser: Chooser | None = None,
    debug: bool = False,
    graceful_timeout: float = 2.0,
    unix: str | None = None,
    **options: Any,
) -> Iterator[Served]:
    """A server for the applications, on a loop and a port of its own."""
    options.setdefault("threads", 8)
    applications = Applications(wsgi=wsgi, asgi=asgi, chooser=chooser, debug=debug)
    observer = Recorder()
    server = Server(applications, Config(**options), observer)
    if unix is None:
        sock = socket.create_server(("127.0.0.1", 0))
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(unix)
    address = sock.getsockname()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server")
    thread.start()
    served = Served(loop, server, address, observer)
    try:
        served.run(server.start([sock]))
        try:
            yield served
        finally:
            served.run(server.stop(graceful_timeout))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
        sock.close()
