"""A server in a thread of this process, and a client that sees every byte.

``with serving(wsgi=app, header_timeout=2.0) as server:`` starts a real
:class:`twogate.server.Server` on an ephemeral port (or a UNIX socket) on a uvloop loop of its own;
options are those of :class:`twogate.config.Config`. ``server.connect()`` gives a :class:`Client`.
``server.run(function)`` runs a function on the loop's thread and returns its result.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import io
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from twogate.config import Config
from twogate.dispatch import Applications, Chooser
from twogate.exchange import Exchange
from twogate.observe.observer import Observer
from twogate.server import Server
from twogate.sessions import SessionStore

T = TypeVar("T")

#: Seconds after which a test gives up waiting.
PATIENCE = 15.0
HOST = b"Host: example.test\r\n"


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """The bytes of a request without a body."""
    lines = [f"{method} {target} HTTP/{version}", "Host: example.test", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(target: str, body: bytes, *fields: str) -> bytes:
    """The bytes of a request with a body of known length."""
    return get(target, f"Content-Length: {len(body)}", *fields, method="POST") + body


def eventually(condition: Callable[[], Any], what: str = "", patience: float = PATIENCE) -> None:
    """Wait until a condition holds; fail when it does not in time."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, what or "it did not happen in time"
        time.sleep(0.005)


def memory() -> int:
    """The resident memory of this process, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


@dataclass
class Record(Observer):
    """Remembers what it is told."""

    finished: list[tuple[str, int]] = field(default_factory=list)
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    open: int = 0

    def request_finished(self, exchange: Exchange, duration: float) -> None:
        """Keeps (path, status)."""
        self.finished.append((exchange.head.raw_path.decode(), exchange.encoder.status))

    def request_refused(self, client: str, status: int, message: str) -> None:
        """Keeps all three."""
        self.refused.append((client, status, message))

    def application_failed(self, exchange: Exchange, error: BaseException) -> None:
        """Keeps the error."""
        self.failed.append(error)

    def connection_opened(self) -> None:
        """Counts up."""
        self.open += 1

    def connection_closed(self) -> None:
        """Counts down."""
        self.open -= 1


@dataclass
class Response:
    """A response as a client saw it; names of headers in lower case, the last one wins."""

    status: int
    reason: str
    version: int
    headers: dict[str, str]
    body: bytes


class _Unclosed:
    """What :mod:`http.client` reads a response from, and may not close."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def makefile(self, mode: str) -> _Unclosed:
        return self

    def close(self) -> None:
        pass

    flush = close

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Client:
    """One connection; sends what it is told and reads responses with :mod:`http.client`."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def response(self, method: str = "GET") -> Response:
        """Read one response and all of its body."""
        reader = http.client.HTTPResponse(_Unclosed(self.file), method=method)  # type: ignore[arg-type]
        reader.begin()
        body = reader.read()
        headers = {name.lower(): value for name, value in reader.getheaders()}
        return Response(reader.status, reader.reason, reader.version, headers, body)

    def ask(self, data: bytes, method: str = "GET") -> Response:
        """Send a request and read its response."""
        self.send(data)
        return self.response(method)

    def line(self) -> bytes:
        """Read one line."""
        return self.file.readline()

    def at_end(self) -> bool:
        """Whether the server has closed, waiting for it to say anything."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for a while."""
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close both ways."""
        self.file.close()
        self.sock.close()


class Serving:
    """A running server; made by :func:`serving`."""

    def __init__(
        self, applications: Applications, config: Config, family: int, address: Any
    ) -> None:
        self.record = Record()
        self.server = Server(applications, config, self.record)
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.address = self.listener.getsockname()
        self.loop = uvloop.new_event_loop()
        self.complaints: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._main, name="loop", daemon=True)
        self._ready = threading.Event()
        self._error: BaseException | None = None

    def start(self) -> None:
        """Start, and wait until it accepts."""
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        if self._error is not None:
            raise self._error

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))
        try:
            self.loop.run_until_complete(self.server.start([self.listener]))
        except BaseException as error:
            self._error = error
            self._ready.set()
            return
        self._ready.set()
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def run(self, function: Callable[[], T]) -> T:
        """Run a function on the loop's thread."""

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE)

    def statistics(self) -> dict[str, Any]:
        """The server's own."""
        return self.run(self.server.statistics)

    def tasks(self) -> int:
        """Tasks on the loop, without the one that counts."""
        return self.run(lambda: len(asyncio.all_tasks()) - 1)

    def stopping(self, graceful_timeout: float) -> Any:
        """Begin to stop; the result's ``result(timeout)`` waits for the end."""
        stop = self.server.stop(graceful_timeout)
        return asyncio.run_coroutine_threadsafe(stop, self.loop)

    def close(self) -> None:
        """Stop the server, if that was not done, and the loop."""
        if self.loop.is_closed():
            return
        self.stopping(0).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.listener.close()

    def connect(self, receive_buffer: int = 0) -> Client:
        """A new connection."""
        sock = socket.socket(self.listener.family)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        sock.connect(self.address)
        return Client(sock)

    def ask(self, data: bytes, method: str = "GET") -> Response:
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.ask(data, method)


@contextlib.contextmanager
def serving(
    *,
    wsgi: Callable[..., Any] | None = None,
    asgi: Callable[..., Any] | None = None,
    chooser: Chooser | None = None,
    unix: Path | None = None,
    debug: bool = False,
    allows_host: Callable[[str], bool] | None = None,
    sessions: SessionStore | None = None,
    **options: Any,
) -> Iterator[Serving]:
    """A server for the time of the block; the loop may not have complained in the end."""
    applications = Applications(
        wsgi=wsgi,
        asgi=asgi,
        chooser=chooser,
        debug=debug,
        allows_host=allows_host,
        sessions=sessions,
    )
    family = socket.AF_INET if unix is None else socket.AF_UNIX
    address = ("127.0.0.1", 0) if unix is None else str(unix)
    server = Serving(applications, Config(**options), family, address)
    server.start()
    try:
        yield server
    finally:
        server.close()
    assert server.complaints == []
