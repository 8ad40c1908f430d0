"""The ASGI gateway for HTTP: one exchange, one task on the loop (ASGI 3, HTTP & WebSocket 2.5).

Everything here runs on the loop's thread. ``receive`` and ``send`` return at once whenever they
can: a task that never waits costs no turn of the loop.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from twogate.errors import ApplicationError, ClientDisconnected
from twogate.exchange import Exchange
from twogate.gateway.failures import report_failure
from twogate.gateway.tasks import Calls

if TYPE_CHECKING:
    from twogate.observe.observer import Observer

__all__ = ["AsgiApplication", "AsgiGateway", "Message", "Scope"]

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
AsgiApplication: TypeAlias = Callable[
    [Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


class AsgiGateway:
    """Runs an ASGI application on the loop.

    :param application: an ASGI 3 application.
    :param loop: the running loop.
    :param observer: is told what fails.
    :param state: the lifespan state; each request gets a shallow copy (ASGI lifespan, "state").
    """

    name = "asgi"

    def __init__(
        self,
        application: AsgiApplication,
        loop: asyncio.AbstractEventLoop,
        observer: Observer,
        state: dict[str, Any],
    ) -> None:
        self._application = application
        self._loop = loop
        self._observer = observer
        self._state = state
        self._calls = Calls(loop, self.name)
        #: Give the calls that still run so many seconds to return, then cancel them.
        self.finish = self._calls.finish

    def __call__(self, exchange: Exchange) -> None:
        """Take an exchange on."""
        self._calls.start(self._run(exchange))

    @property
    def running(self) -> int:
        """Calls of the application that have not returned."""
        return len(self._calls)

    async def _run(self, exchange: Exchange) -> None:
        exchange.started_at = time.perf_counter()
        exchange.served_by = "loop"
        call = _Call(exchange, self._loop)
        try:
            await self._application(self._scope(exchange, call), call.receive, call.send)
            call.check_complete()
        except (GeneratorExit, KeyboardInterrupt):
            raise  # the loop itself ends
        except BaseException as error:
            # SystemExit from a view must not stop the server.
            cancelled = isinstance(error, asyncio.CancelledError) and _is_cancelled()
            if not cancelled:
                report_failure(self._observer, exchange, error)
            exchange.fail()
            if cancelled:
                raise

    def _scope(self, exchange: Exchange, call: _Call) -> Scope:
        """ASGI, "HTTP Connection Scope"."""
        head, peer = exchange.head, exchange.peer
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": head.http_version,
            "method": head.method,
            "scheme": peer.scheme,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query_string,
            "root_path": "",
            "headers": head.headers,
            "client": peer.client,
            "server": peer.server,
            "state": self._state.copy(),
            "extensions": {
                "http.response.pathsend": {},
                "twogate.disconnect": call.when_disconnected,
            },
        }


def _is_cancelled() -> bool:
    """Whether the server wants this task to end: an application may raise CancelledError itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Call:
    """``receive`` and ``send`` of one call of the application."""

    __slots__ = (
        "_body_given",
        "_disconnected",
        "_ended",
        "_exchange",
        "_loop",
        "_receivers",
        "_started",
    )

    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        self._exchange = exchange
        self._loop = loop
        self._body_given = False
        self._started = False
        #: The application has sent the end of the response.
        self._ended = False
        #: Each waiting ``receive``: several tasks of an application may listen for the disconnect.
        self._receivers: list[asyncio.Future[None]] = []
        self._disconnected: Callable[[], None] | None = None

    def when_disconnected(self, callback: Callable[[], None]) -> None:
        """The extension ``twogate.disconnect``: call back, once, when the client goes before the
        response is complete. Spares an application the task that would wait in ``receive``."""
        self._disconnected = callback
        if self._exchange.over:
            self._wake()
        else:
            self._exchange.when_over(self._wake)

    async def receive(self) -> Message:
        """ASGI, "Request - receive event" and "Disconnect - receive event"."""
        exchange, body = self._exchange, self._exchange.body
        while not self._body_given and not self._ended:
            chunk = body.take()
            if body.paused:
                body.relieve()
            if chunk or body.complete:
                more = not body.complete or body.buffered > 0
                self._body_given = not more
                return {"type": "http.request", "body": chunk, "more_body": more}
            if body.failed or exchange.over:
                break
            # The body may never come, if the response is over before.
            exchange.when_over(self._wake)
            await self._wait(body.when_ready, self._receivers)
        while not exchange.over:
            await self._wait(exchange.when_over, self._receivers)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI, "Response Start - send event" and "Response Body - send event".

        :raises ClientDisconnected: an :class:`OSError`, once the client is gone (since 2.4).
        :raises ApplicationError: the event is unknown, malformed or out of turn.
        """
        exchange = self._exchange
        if self._ended:
            return  # "any further messages on the channel will be ignored"
        if exchange.disconnected:
            raise ClientDisconnected("The client went away.")
        kind = message.get("type")
        if kind == "http.response.body":
            self._require_start(kind)
            data = message.get("body", b"")
            if not isinstance(data, bytes):
                data = _as_bytes(data)
            end = not message.get("more_body", False)
            payload = exchange.encode(data, end)
            self._ended = end
            exchange.write(payload, end)
            if not end and not exchange.writable:
                await self._wait(exchange.when_writable, [])
        elif kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.pathsend":
            self._require_start(kind)
            self._send_path(message)
        else:
            raise ApplicationError(f"{kind!r} is not an event an HTTP application may send (ASGI).")

    def _start(self, message: Message) -> None:
        if self._started:
            raise ApplicationError(
                "http.response.start was sent twice (ASGI, Response Start - send event)."
            )
        status = message.get("status")
        if not isinstance(status, int):
            raise ApplicationError(
                f"The status {status!r} must be an int (ASGI, Response Start - send event)."
            )
        self._exchange.start_response(status, message.get("headers", ()))
        self._started = True

    def _require_start(self, kind: str) -> None:
        if not self._started:
            raise ApplicationError(
                f"{kind} was sent before http.response.start (ASGI, Response Body - send event)."
            )

    def _send_path(self, message: Message) -> None:
        """ASGI extensions, "Path Send"."""
        exchange, encoder = self._exchange, self._exchange.encoder
        if encoder.head_sent:
            raise ApplicationError(
                "http.response.pathsend cannot be mixed with http.response.body"
                " (ASGI extensions, Path Send)."
            )
        path = message.get("path")
        if not isinstance(path, str):
            raise ApplicationError(f"The path {path!r} must be a str (ASGI extensions, Path Send).")
        # Opening a FIFO would wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            size = _regular_size(fd)
            encoder.declare_length(size)
            if not encoder.sends_body or not size:
                payload, size = exchange.encode(b"", True), 0
            else:
                _require_length(encoder.length_left, size)
                payload = exchange.encode(b"", False)
                encoder.sent_elsewhere(size)
        except BaseException:
            os.close(fd)
            raise
        self._ended = True
        if size:
            exchange.write(payload, False)
            exchange.send_file(fd, 0, size)
        else:
            os.close(fd)
            exchange.write(payload, True)

    async def _wait(
        self,
        subscribe: Callable[[Callable[[], None]], None],
        waiting: list[asyncio.Future[None]],
    ) -> None:
        """Wait for a callback of the exchange; it wakes all that are ``waiting``."""
        future = self._loop.create_future()
        waiting.append(future)
        subscribe(self._wake if waiting is self._receivers else lambda: _resolve(waiting))
        try:
            await future
        finally:
            waiting.remove(future)

    def _wake(self) -> None:
        _resolve(self._receivers)
        callback = self._disconnected
        # While the body is still coming, it may be that which wakes us.
        if callback is not None and self._exchange.over:
            self._disconnected = None  # it may well refer back to us
            if not self._ended:
                callback()

    def check_complete(self) -> None:
        """The application has returned: is there a response?"""
        if self._ended:
            return
        exchange = self._exchange
        if exchange.over:
            exchange.abandon()  # Django, for one, drops the view when the client has gone
        elif not self._started:
            raise ApplicationError("The application returned without sending a response (ASGI).")
        else:
            raise ApplicationError("The application returned before its response ended (ASGI).")


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _regular_size(fd: int) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise ApplicationError(
            "The path must be that of a regular file (ASGI extensions, Path Send)."
        )
    return status.st_size


def _require_length(declared: int | None, size: int) -> None:
    if declared != size:
        raise ApplicationError(
            f"The Content-Length of {declared} bytes is not the file's size of {size}"
            " (RFC 9110 §8.6)."
        )


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise ApplicationError(
        f"The body must be a byte string, not {type(data).__name__}"
        " (ASGI, Response Body - send event)."
    )
