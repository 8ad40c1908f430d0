"""The waist: one request and its one response.

The connection side fills :class:`RequestBody` and writes what the response encodes; the gateway
side reads the one and makes the other. Neither knows the other. Methods belong to the loop's
thread unless their docstring says otherwise.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from twogate.errors import ApplicationError, PeerError
from twogate.protocol.http1_writer import (
    Headers,
    Line,
    Payload,
    ResponseEncoder,
    reason_phrase,
)

if TYPE_CHECKING:
    from twogate.protocol.events import RequestHead

__all__ = ["Carrier", "Exchange", "Peer", "RequestBody"]

#: Bytes of a request body, or of an unsent response, that are held before the other side stops.
HIGH_WATER = 65536


@dataclass(slots=True)
class Peer:
    """The two ends of a connection.

    :ivar client: (address, port), or ``None`` over a UNIX socket.
    :ivar server: (address, port), or (path, ``None``) for a UNIX socket.
    :ivar scheme: ``"http"`` or ``"https"``.
    :ivar environ: what the WSGI gateway derives from these, once for all requests.
    """

    client: tuple[str, int] | None
    server: tuple[str, int | None]
    scheme: str = "http"
    environ: dict[str, Any] | None = None


class Carrier(Protocol):
    """What an exchange asks of the connection that carries it."""

    #: Whether the peer reads as fast as we write.
    @property
    def writable(self) -> bool: ...  # noqa: D102

    #: ``Date`` and ``Server``.
    @property
    def default_headers(self) -> Headers: ...  # noqa: D102

    def write(self, exchange: Exchange, payload: Payload, end: bool) -> None:
        """Send bytes; ``end`` says that the response is complete."""

    def want_body(self, body: RequestBody) -> None:
        """Somebody waits for the request body: send ``100 Continue`` if the client waits for it,
        and read on."""

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once the peer has taken enough of what was written, or is gone."""

    def send_file(self, exchange: Exchange, fd: int, offset: int, count: int) -> None:
        """Send ``count`` bytes of a regular file, then end the response; takes over ``fd``."""

    def upgrade(self, exchange: Exchange, make: Callable[..., Any]) -> Any:
        """Leave HTTP: hand the transport to ``make(connection parts)`` and return its result."""

    def abort(self, exchange: Exchange) -> None:
        """Close the connection without another word: the response cannot be completed."""


class RequestBody:
    """The body of one request: the connection feeds it, one reader takes from it.

    The reader may be another thread: it only takes and counts what it took, the loop only feeds
    and counts what it fed, so neither needs a lock.
    """

    __slots__ = (
        "_carrier",
        "_chunks",
        "_gather",
        "_taken",
        "_waiter",
        "complete",
        "failed",
        "paused",
        "received",
    )

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._chunks: deque[bytes] = deque()
        self._waiter: Callable[[], None] | None = None
        self._gather = False
        self._taken = 0
        #: Bytes fed so far.
        self.received = 0
        #: All of the body has been fed.
        self.complete = False
        #: The client went away, or broke a rule, before the body was complete.
        self.failed = False
        #: The buffer is full: the connection does not read until :meth:`relieve`.
        self.paused = False

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet taken."""
        return self.received - self._taken

    def take(self) -> bytes:
        """The next piece that is at hand, or ``b""``. Any one thread at a time.

        ``b""`` means the end when :attr:`complete` was true before the call, and otherwise that
        :meth:`when_ready` should be asked.
        """
        try:
            chunk = self._chunks.popleft()
        except IndexError:
            return b""
        self._taken += len(chunk)
        return chunk

    def when_ready(self, callback: Callable[[], None], *, gather: bool = False) -> None:
        """Call back once there is something to take, or the body is complete or has failed.

        One callback at a time: a reader that gave up waiting is replaced by the next.

        :param gather: wait for the whole body, or a full buffer, or :meth:`hurry`.
        """
        self.relieve()
        if self.complete or self.failed or (self._chunks and not gather) or self.paused:
            callback()
            return
        self._waiter, self._gather = callback, gather
        self._carrier.want_body(self)

    def relieve(self) -> None:
        """Let the connection read on if enough was taken."""
        if self.paused and self.buffered <= HIGH_WATER // 2:
            self.paused = False
            if not self.complete:
                self._carrier.want_body(self)

    # For the connection.

    def feed(self, data: bytes) -> None:
        """Add a piece; sets :attr:`paused` when the buffer is full."""
        self._chunks.append(data)
        self.received += len(data)
        if self.buffered >= HIGH_WATER:
            self.paused = True
        if self._waiter is not None and (self.paused or not self._gather):
            self._wake()

    def end(self) -> None:
        """The body is complete."""
        self.complete = True
        if self._waiter is not None:
            self._wake()

    def fail(self) -> None:
        """The rest will never come, or nobody is to wait for it."""
        self.paused = False
        if not self.complete:
            self.failed = True
        if self._waiter is not None:
            self._wake()

    def hurry(self) -> None:
        """Stop gathering: whoever waits gets what there is."""
        if self._waiter is not None and self._gather:
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()


def _no_body() -> RequestBody:
    body = RequestBody(cast("Carrier", None))
    body.end()
    return body


#: The body of every request that has none: complete, and never fed.
_NO_BODY = _no_body()


class Exchange:
    """One request and its one response.

    :ivar head: the request's head.
    :ivar body: the request's body.
    :ivar peer: who talks to whom.
    :ivar gateway: ``"wsgi"``, ``"asgi"`` or ``"server"``; set by dispatch.
    :ivar reason: why that gateway, in a few words; set by dispatch.
    :ivar served_by: the thread or loop that ran the application; set by the gateway.
    :ivar received_at: when the head was complete, in seconds of :func:`time.perf_counter`.
    :ivar started_at: when the application was called; 0.0 before that.
    :ivar disconnected: the client is gone, or has been answered without the application.
    :ivar over: nothing more is to be expected of the client: it is gone, or has closed its side, or
        has its response.
    :ivar begun: a piece of the response that is not its last was written; unset before that.
    """

    __slots__ = (
        "_carrier",
        "_over_waiter",
        "begun",
        "body",
        "debug",
        "disconnected",
        "encoder",
        "gateway",
        "head",
        "over",
        "peer",
        "reason",
        "received_at",
        "served_by",
        "started_at",
    )

    begun: bool

    def __init__(self, head: RequestHead, peer: Peer, carrier: Carrier) -> None:
        self._carrier = carrier
        self._over_waiter: Callable[[], None] | None = None
        self.head = head
        self.peer = peer
        self.body = RequestBody(carrier) if head.content_length != 0 else _NO_BODY
        self.encoder = ResponseEncoder(head)
        self.gateway = ""
        self.reason = ""
        self.served_by = ""
        self.debug = False
        self.disconnected = False
        self.over = False
        self.received_at = time.perf_counter()
        self.started_at = 0.0

    def start_response(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], reason: bytes | None = None
    ) -> None:
        """Set the response's status and headers. Any one thread.

        :raises ApplicationError: a header breaks the rules, or the head is on its way already.
        """
        if self.debug:
            headers = [*headers, (b"Server-Timing", self._server_timing())]
        self.encoder.start(status, reason_phrase(status) if reason is None else reason, headers)

    def encode(self, data: bytes, end: bool) -> Payload:
        """Encode a piece of the response for :meth:`write`. Any one thread, pieces in order.

        :raises ApplicationError: the body does not fit its ``Content-Length``, or is out of turn.
        """
        return self.encoder.encode(data, end, self._carrier.default_headers)

    def start_lines(self, status: int, reason: bytes, lines: Iterable[Line]) -> None:
        """Like :meth:`start_response`, with headers that
        :func:`~twogate.protocol.http1_writer.make_line` has checked. Any one thread."""
        if self.debug:
            lines = [*lines, b"Server-Timing: " + self._server_timing()]
        self.encoder.start_lines(status, reason, lines)

    def conclude(self, data: bytes) -> None:
        """Send the last piece of a response whose length it fits."""
        if self.disconnected:
            return
        try:
            payload = self.encoder.encode(data, True, self._carrier.default_headers)
        except ApplicationError:  # pragma: no cover - the gateway has checked the length
            self.fail()
        else:
            self._carrier.write(self, payload, True)

    def write(self, payload: Payload, end: bool) -> None:
        """Send what :meth:`encode` made; dropped when the client is gone."""
        if not self.disconnected:
            self._carrier.write(self, payload, end)

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole response in one call."""
        self.start_response(status, headers)
        self.write(self.encode(body, True), True)

    def refuse(self, error: PeerError) -> None:
        """Answer with the error's status and its one plain sentence."""
        self.respond(
            error.status,
            [(b"Content-Type", b"text/plain; charset=utf-8"), *error.headers],
            error.message.encode() + b"\n",
        )

    def fail(self) -> None:
        """The application failed: answer 500, or cut the response short so that it shows."""
        if self.disconnected:
            return
        if self.encoder.head_sent:
            self._carrier.abort(self)
            return
        self.encoder.keep_alive = False
        try:
            self.start_response(500, [(b"Content-Type", b"text/plain; charset=utf-8")])
            payload = self.encode(b"Internal Server Error\n", True)
        except ApplicationError:  # pragma: no cover - a plain 500 obeys the rules
            self._carrier.abort(self)
        else:
            self.write(payload, True)

    def abandon(self) -> None:
        """The application gave up, because the client has closed its side: close ours.

        Such a client is nearly always gone, and only a write would find that out.
        """
        if not self.disconnected:
            self._carrier.abort(self)

    @property
    def writable(self) -> bool:
        """Whether the client takes what is written, so that more may follow. Any thread."""
        return self._carrier.writable

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once more may be written, or the client is gone."""
        if self.disconnected or self._carrier.writable:
            callback()
        else:
            self._carrier.when_writable(callback)

    def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send ``count`` bytes of a regular file after the encoded head, then end the response.

        Takes over ``fd`` and closes it, whatever happens.
        """
        self._carrier.send_file(self, fd, offset, count)

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call back once :attr:`over` is true; one callback at a time, the later one wins."""
        if self.over:
            callback()
        else:
            self._over_waiter = callback

    def upgrade(self, make: Callable[..., Any]) -> Any:
        """Leave HTTP after the encoded 101 was written; see :meth:`Carrier.upgrade`.

        This is the last the exchange asks of its carrier, and it lets go of it: a WebSocket lives
        long, and its log lines need the exchange.
        """
        carrier, self._carrier = self._carrier, cast("Carrier", None)
        return carrier.upgrade(self, make)

    # For the connection.

    def disconnect(self) -> None:
        """The client is gone: fail the body and tell whoever waits."""
        if not self.disconnected:
            self.disconnected = True
            self.body.fail()
            self._end()

    def half_close(self) -> None:
        """The client will send nothing more; it may still read."""
        self._end()

    def finish(self) -> None:
        """The response is complete: what is left of the body is read past, not delivered."""
        if not self.body.complete:
            self.body.fail()
        self.over = True
        if self._over_waiter is not None:
            self._end()

    def _end(self) -> None:
        self.over = True
        waiter, self._over_waiter = self._over_waiter, None
        if waiter is not None:
            waiter()

    def _server_timing(self) -> bytes:
        """Gateway, reason and times for the browser's devtools (W3C Server Timing)."""
        now = time.perf_counter()
        started = self.started_at or now
        reason = self.reason.replace("\\", "\\\\").replace('"', '\\"')
        return (
            f'gateway;desc="{self.gateway}: {reason}", '
            f"queue;dur={(started - self.received_at) * 1000:.2f}, "
            f"app;dur={(now - started) * 1000:.2f}"
        ).encode("ascii", "replace")
