"""The ASGI gateway for WebSocket: one socket, one task on the loop (ASGI 3, HTTP & WebSocket 2.5).

Everything here runs on the loop's thread. The request comes as an exchange, which also carries a
refusal; once the application accepts, the exchange is traded for a socket exchange. Knows nothing
of frames, pings or transports.

==========  ==========================================================  =========================
state       what the application may send                               what that makes it
==========  ==========================================================  =========================
CONNECTING  websocket.accept                                            OPEN
..          websocket.close                                             OVER, answered with 403
..          websocket.http.response.start                               DENYING
OPEN        websocket.send                                              OPEN
..          websocket.close                                             OVER
DENYING     websocket.http.response.body                                OVER after the last one
OVER        nothing: it is told so by :class:`ClientDisconnected`       OVER
==========  ==========================================================  =========================
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from twogate.errors import ApplicationError, ClientDisconnected, PeerError
from twogate.exchange import Exchange
from twogate.gateway.asgi import AsgiApplication, Message, Scope
from twogate.gateway.failures import tells_of_disconnect
from twogate.gateway.tasks import Calls
from twogate.protocol.websocket import ClosedSocket, Handshake, check_close
from twogate.realtime.hub import check_topic
from twogate.realtime.topics import EXTENSION

if TYPE_CHECKING:
    from twogate.observe.observer import Observer
    from twogate.socket_exchange import OpenSocket, SocketExchange, Ticket

__all__ = ["AsgiWebSocketGateway"]

_NORMAL = 1000
_NEVER_OPENED = ClosedSocket(1006)
_INTERNAL_ERROR = 1011
_SERVICE_RESTART = 1012


class AsgiWebSocketGateway:
    """Runs an ASGI application for WebSockets, on the loop.

    :param application: an ASGI 3 application.
    :param loop: the running loop.
    :param observer: is told what opens, closes and fails.
    :param state: the lifespan state; each socket gets a shallow copy (ASGI lifespan, "state").
    :param open_socket: makes a socket exchange of the connection, see
        :data:`~twogate.socket_exchange.OpenSocket`.
    :param max_message_size: bytes of one message, after decompression; 0 for no limit.
    :param compression: whether permessage-deflate is accepted.
    """

    name = "asgi"

    def __init__(
        self,
        application: AsgiApplication,
        loop: asyncio.AbstractEventLoop,
        observer: Observer,
        state: dict[str, Any],
        open_socket: OpenSocket,
        *,
        max_message_size: int = 1048576,
        compression: bool = True,
    ) -> None:
        self._application = application
        self._loop = loop
        self._observer = observer
        self._state = state
        self._open_socket = open_socket
        self._max_message_size = max_message_size
        self._compression = compression
        self._calls = Calls(loop, "websocket")
        #: Give the calls that still run so many seconds to return, then cancel them.
        self.finish = self._calls.finish

    def __call__(self, exchange: Exchange, ticket: Ticket) -> None:
        """Take an exchange on whose request asks for a WebSocket."""
        # Bytes that follow the request are not HTTP, whatever comes of it.
        exchange.encoder.keep_alive = False
        try:
            handshake = Handshake(
                exchange.head,
                max_message_size=self._max_message_size,
                compression=self._compression,
            )
        except PeerError as error:
            client = exchange.peer.client
            self._observer.request_refused(client[0] if client else "", error.status, error.message)
            exchange.refuse(error)
            ticket.over()
            return
        self._calls.start(self._run(exchange, handshake, ticket))

    @property
    def running(self) -> int:
        """Calls of the application that have not returned."""
        return len(self._calls)

    async def _run(self, exchange: Exchange, handshake: Handshake, ticket: Ticket) -> None:
        exchange.started_at = time.perf_counter()
        exchange.served_by = "loop"
        call = _Call(exchange, handshake, ticket, self._open_socket, self._observer, self._loop)
        scope = self._scope(exchange, handshake.subprotocols, call)
        del handshake
        try:
            await self._application(scope, call.receive, call.send)
            call.returned()
        except asyncio.CancelledError:
            call.fail(_SERVICE_RESTART)
            raise
        except (Exception, SystemExit) as error:
            # SystemExit from a consumer must not stop the server.
            if not (call.gone and tells_of_disconnect(error)):
                self._observer.application_failed(exchange, error)
            call.fail(_INTERNAL_ERROR)
        finally:
            call.release()
            ticket.over()

    def _scope(self, exchange: Exchange, subprotocols: list[str], call: _Call) -> Scope:
        """ASGI, "WebSocket Connection Scope"."""
        head, peer = exchange.head, exchange.peer
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": head.http_version,
            "scheme": "wss" if peer.scheme == "https" else "ws",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query_string,
            "root_path": "",
            "headers": head.headers,
            "client": peer.client,
            "server": peer.server,
            "subprotocols": list(subprotocols),
            "state": self._state.copy(),
            "extensions": {
                "websocket.http.response": {},
                EXTENSION: {"join": call.join, "leave": call.leave},
            },
        }


class _State(Enum):
    CONNECTING = "before it accepted or closed the WebSocket"
    OPEN = "on an accepted WebSocket"
    DENYING = "inside a denial response"
    OVER = "after the end"


class _Call:
    """``receive`` and ``send`` of one call of the application."""

    __slots__ = (
        "_accepted_at",
        "_awaited",
        "_connect_given",
        "_end_given",
        "_end_told",
        "_exchange",
        "_handshake",
        "_loop",
        "_observer",
        "_open_socket",
        "_socket",
        "_state",
        "_ticket",
        "_waiters",
    )

    def __init__(
        self,
        exchange: Exchange,
        handshake: Handshake,
        ticket: Ticket,
        open_socket: OpenSocket,
        observer: Observer,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._exchange = exchange
        self._handshake: Handshake | None = handshake
        self._ticket = ticket
        self._open_socket = open_socket
        self._observer = observer
        self._loop = loop
        self._state = _State.CONNECTING
        self._socket: SocketExchange | None = None
        # Hardly ever more than one.
        self._waiters: tuple[asyncio.Future[None], ...] = ()
        self._connect_given = False
        self._end_given = False
        self._end_told = False
        self._accepted_at = 0.0
        # Topics that were joined before the WebSocket was accepted.
        self._awaited: set[str] | None = None
        exchange.when_over(self._wake)

    # Receiving.

    async def receive(self) -> Message:
        """ASGI, "Connect", "Receive" and "Disconnect - receive event".

        Cancelling it loses nothing: an event is taken in the step that returns it.

        :raises ClientDisconnected: an :class:`OSError`, after ``websocket.disconnect`` was given:
            there is nothing to wait for, and waiting for ever would leak whoever waits.
        """
        while True:
            if self._end_given:
                raise ClientDisconnected("websocket.disconnect was received before.")
            event = self._next_event()
            if event is not None:
                return event
            waiter = self._loop.create_future()
            self._waiters += (waiter,)
            try:
                await waiter
            except asyncio.CancelledError:
                self._waiters = tuple(other for other in self._waiters if other is not waiter)
                raise

    def _next_event(self) -> Message | None:
        if not self._connect_given:
            self._connect_given = True
            return {"type": "websocket.connect"}
        socket = self._socket
        if socket is None:
            # ASGI leaves the code of a WebSocket that never was one to the server.
            return self._disconnect(_NEVER_OPENED) if self.gone else None
        item = socket.take()
        if type(item) is str:
            return {"type": "websocket.receive", "text": item}
        if type(item) is bytes:
            return {"type": "websocket.receive", "bytes": item}
        return self._disconnect(item) if isinstance(item, ClosedSocket) else None

    def _disconnect(self, end: ClosedSocket) -> Message:
        self._end_given = True
        return {"type": "websocket.disconnect", "code": end.code, "reason": end.reason}

    def _wake(self) -> None:
        """There is something new: let those who wait look."""
        if not self._end_told:
            self._tell_end()
        if self._waiters:
            waiters, self._waiters = self._waiters, ()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _tell_end(self) -> None:
        end = self._socket.closed if self._socket is not None else None
        if end is not None:
            self._end_told = True
            duration = time.perf_counter() - self._accepted_at
            self._observer.websocket_closed(self._exchange, end.code, end.reason, duration)

    # Sending.

    async def send(self, message: Message) -> None:
        """ASGI, "Accept", "Send", "Close - send event" and "WebSocket Denial Response".

        :raises ClientDisconnected: an :class:`OSError`, once the WebSocket is closed (since 2.4).
        :raises ApplicationError: the event is unknown, malformed or out of turn.
        """
        kind = message.get("type")
        socket = self._socket
        if kind == "websocket.send" and socket is not None:
            data = message.get("text")
            if type(data) is not str or message.get("bytes") is not None:
                data = _checked_data(message)
            if not socket.writable:
                await self._wait(socket)
            socket.send(data)
        elif kind == "websocket.http.response.body" and self._state is _State.DENYING:
            await self._continue_denial(message)
        else:
            handler = _HANDLERS.get((self._state, str(kind)))
            if handler is None or self.gone:
                self._refuse(kind)
            handler(self, message)

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent any more."""
        if self._socket is not None:
            return self._socket.closed is not None
        return self._state is _State.OVER or self._exchange.over

    def _refuse(self, kind: object) -> NoReturn:
        if kind not in _KINDS:
            raise ApplicationError(
                f"{kind!r} is not an event a WebSocket application may send (ASGI)."
            )
        if self.gone:
            raise ClientDisconnected("The WebSocket is closed.")
        allowed = [known for state, known in _HANDLERS if state is self._state]
        raise ApplicationError(
            f"The application sent {kind} {self._state.value}, where only"
            f" {' or '.join(allowed) or 'websocket.http.response.body'} may follow (ASGI)."
        )

    def _accept(self, message: Message) -> None:
        """ASGI, "Accept - send event"."""
        exchange, handshake = self._exchange, self._handshake
        assert handshake is not None
        response = handshake.response(message.get("subprotocol"), message.get("headers") or ())
        exchange.encoder.status = 101
        exchange.write(response, False)
        self._socket = socket = exchange.upgrade(self._open_socket(handshake.framing()))
        self._handshake = None
        self._state = _State.OPEN
        self._accepted_at = time.perf_counter()
        self._observer.websocket_opened(exchange)
        socket.listener = self._wake
        for topic in self._awaited or ():
            socket.join(topic)
        self._awaited = None
        self._ticket.opened(socket)
        self._wake()

    def _reject(self, message: Message) -> None:
        """ASGI, "Close - send event", before the WebSocket was accepted."""
        self._over()
        self._exchange.respond(403, [(b"Content-Type", b"text/plain; charset=utf-8")], _FORBIDDEN)
        self._wake()

    def _close(self, message: Message) -> None:
        """ASGI, "Close - send event"."""
        assert self._socket is not None
        code, reason = message.get("code", _NORMAL), message.get("reason") or ""
        if code is None:
            code = _NORMAL
        check_close(code, reason)
        self._socket.close(code, reason)

    def _deny(self, message: Message) -> None:
        """ASGI extensions, "WebSocket Denial Response"."""
        status = message.get("status")
        if not isinstance(status, int):
            raise ApplicationError(
                f"The status {status!r} must be an int (ASGI, WebSocket Denial Response)."
            )
        self._exchange.start_response(status, message.get("headers") or ())
        self._state = _State.DENYING

    async def _continue_denial(self, message: Message) -> None:
        exchange = self._exchange
        if exchange.disconnected:
            raise ClientDisconnected("The client went away.")
        data, end = message.get("body", b""), not message.get("more_body", False)
        if not isinstance(data, bytes):
            raise ApplicationError(
                f"The body must be a byte string, not {type(data).__name__}"
                " (ASGI, WebSocket Denial Response)."
            )
        payload = exchange.encode(data, end)
        if end:
            self._over()
        exchange.write(payload, end)
        if end:
            self._wake()
        elif not exchange.writable:
            await self._wait(exchange)

    def _over(self) -> None:
        self._state = _State.OVER
        self._handshake = None

    async def _wait(self, sink: SocketExchange | Exchange) -> None:
        """Wait until the peer has read enough, or is gone."""
        future = self._loop.create_future()

        def done() -> None:
            if not future.done():
                future.set_result(None)

        sink.when_writable(done)
        await future

    # Topics: the extension twogate.broadcast.

    def join(self, topic: str) -> None:
        """See :data:`twogate.realtime.topics.EXTENSION`. Any thread."""
        check_topic(topic)
        self._run_on_loop(self._join, topic)

    def leave(self, topic: str) -> None:
        """The opposite. Any thread."""
        self._run_on_loop(self._leave, topic)

    def _run_on_loop(self, function: Callable[[str], None], topic: str) -> None:
        if asyncio._get_running_loop() is self._loop:
            function(topic)
            return
        try:
            self._loop.call_soon_threadsafe(function, topic)
        except RuntimeError:
            pass  # the loop is closed, and with it the WebSocket

    def _join(self, topic: str) -> None:
        socket = self._socket
        if socket is not None:
            socket.join(topic)
        elif self._awaited is None:
            self._awaited = {topic}
        else:
            self._awaited.add(topic)

    def _leave(self, topic: str) -> None:
        socket = self._socket
        if socket is not None:
            socket.leave(topic)
        elif self._awaited is not None:
            self._awaited.discard(topic)

    # The end.

    def returned(self) -> None:
        """The application has returned: see that the WebSocket is closed.

        :raises ApplicationError: it has never decided.
        """
        if self._socket is not None:
            self._socket.close(_NORMAL)
        elif not self.gone:
            raise ApplicationError(f"The application returned {self._state.value} (ASGI).")

    def fail(self, code: int) -> None:
        """The application cannot go on: end the WebSocket, or the request it still is."""
        if self._socket is not None:
            self._socket.close(code)
        elif self._state is not _State.OVER:
            self._over()
            self._exchange.fail()

    def release(self) -> None:
        """Let go of everything that points back here."""
        self._exchange.when_over(_ignore)
        if self._socket is not None:
            self._socket.listener = None
        self._wake()


def _ignore() -> None:
    pass


def _checked_data(message: Message) -> str | bytes:
    """The text or bytes of a ``websocket.send``."""
    text, data = message.get("text"), message.get("bytes")
    if (text is None) == (data is None):
        raise ApplicationError(
            "websocket.send must have exactly one of 'bytes' and 'text' (ASGI, Send - send event)."
        )
    if isinstance(text, str):
        return str(text)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    name = "bytes" if text is None else "text"
    raise ApplicationError(
        f"The {name!r} of websocket.send is of type {type(data if text is None else text).__name__}"
        " (ASGI, Send - send event)."
    )


_FORBIDDEN = b"The WebSocket was not accepted.\n"

_HANDLERS: dict[tuple[_State, str], Callable[[_Call, Message], None]] = {
    (_State.CONNECTING, "websocket.accept"): _Call._accept,
    (_State.CONNECTING, "websocket.close"): _Call._reject,
    (_State.CONNECTING, "websocket.http.response.start"): _Call._deny,
    (_State.OPEN, "websocket.close"): _Call._close,
}
_KINDS = {
    "websocket.send",
    "websocket.http.response.body",
    *(kind for _, kind in _HANDLERS),
}
