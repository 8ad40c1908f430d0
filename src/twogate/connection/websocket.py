"""What a connection becomes after ``101``: a WebSocket. Loop's thread only; knows no application.

It takes over the transport, holds back whichever side is too fast, keeps the peer alive or finds it
dead, and sees every WebSocket to one end, told once. There is no timer here: the server's sweep
calls :meth:`WebSocketConnection.tick` about once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from twogate.connection.context import Context
from twogate.errors import ClientDisconnected
from twogate.protocol.websocket import (
    PING,
    ClosedSocket,
    Message,
    WebSocketFraming,
    encode_frame,
)
from twogate.realtime.backlog import Backlog
from twogate.socket_exchange import OpenSocket

__all__ = ["WebSocketConnection", "WebSocketSettings", "opener"]

_ABNORMAL = 1006
_INTERNAL_ERROR = 1011
_SERVICE_RESTART = 1012
_TRY_AGAIN_LATER = 1013

_PING_FRAME = encode_frame(9, b"")


@dataclass(slots=True)
class WebSocketSettings:
    """How WebSockets are kept. Times are in seconds.

    :ivar ping_interval: a peer that was silent for so long is sent a ping; 0 for never.
    :ivar ping_timeout: a peer that stays silent for so long after that is gone; 0 for never.
    :ivar close_timeout: how long a peer may take to answer a close frame.
    :ivar queue_messages: messages that wait for the application before reading stops.
    :ivar queue_bytes: the same in bytes, or characters of text; one message may be larger.
    """

    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    close_timeout: float = 10.0
    queue_messages: int = 32
    queue_bytes: int = 65536


def opener(settings: WebSocketSettings) -> OpenSocket:
    """What a gateway is given to open WebSockets with; see :meth:`HttpConnection.upgrade`."""

    def open_socket(
        framing: WebSocketFraming,
    ) -> Callable[[asyncio.Transport, bytes, Context], WebSocketConnection]:
        def make(
            transport: asyncio.Transport, early: bytes, context: Context
        ) -> WebSocketConnection:
            connection = WebSocketConnection(transport, framing, settings, context)
            if early:
                connection.data_received(early)
            if context.draining:
                connection.drain()
            return connection

        return make

    return open_socket


class WebSocketConnection(asyncio.Protocol):
    """One WebSocket on its transport; a gateway sees a ``SocketExchange``.

    :param transport: whose protocol this is about to become.
    :param framing: after the handshake.
    :param settings: see :class:`WebSocketSettings`.
    :param context: what all connections share.
    """

    __slots__ = (
        "__weakref__",
        "_backlog",
        "_context",
        "_drain_waiters",
        "_end_taken",
        "_framing",
        "_heard",
        "_held",
        "_messages",
        "_paused",
        "_pinged",
        "_pong",
        "_settings",
        "_since",
        "_transport",
        "_unsent",
        "closed",
        "listener",
        "writable",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        framing: WebSocketFraming,
        settings: WebSocketSettings,
        context: Context,
    ) -> None:
        self._transport = transport
        self._framing = framing
        self._settings = settings
        self._context = context
        high = transport.get_write_buffer_limits()[1]
        self.writable = transport.get_write_buffer_size() <= high
        self.closed: ClosedSocket | None = None
        self.listener: Callable[[], None] | None = None
        self._end_taken = False
        # Messages not yet taken; a list because it is short and an idle one is small.
        self._messages: list[Message] = []
        self._held = 0
        # Reading has stopped until enough messages are taken.
        self._paused = False
        self._drain_waiters: tuple[Callable[[], None], ...] = ()
        # Broadcasts that wait for the peer to read: while there are any, it is not writable.
        self._backlog: Backlog | None = None
        # The answer to the latest ping, while the peer does not read (RFC 6455 §5.5.3).
        self._pong = b""
        # Since the last tick something was received. A flag, because reading a clock costs more.
        self._heard = True
        # When the peer was last known to live, was pinged, or was to close; None before a tick.
        self._since: float | None = None
        self._pinged = False
        self._unsent = 0

    # For the gateway: SocketExchange.

    def take(self) -> Message | ClosedSocket | None:
        """See :meth:`twogate.socket_exchange.SocketExchange.take`."""
        if self._messages:
            message = self._messages.pop(0)
            self._held -= len(message)
            if self._paused:
                self._read_on()
            return message
        if self.closed is None or self._end_taken:
            return None
        self._end_taken = True
        return self.closed

    def send(self, message: Message) -> None:
        """See :meth:`twogate.socket_exchange.SocketExchange.send`."""
        if self.closed is not None:
            raise ClientDisconnected("The WebSocket is closed.")
        self._transport.write(self._framing.encode(message))

    def join(self, topic: str) -> None:
        """See :meth:`twogate.socket_exchange.SocketExchange.join`."""
        if self.closed is None:
            self._context.hub.join(topic, self)

    def leave(self, topic: str) -> None:
        """See :meth:`twogate.socket_exchange.SocketExchange.leave`."""
        self._context.hub.leave(topic, self)

    def when_writable(self, callback: Callable[[], None]) -> None:
        """See :meth:`twogate.socket_exchange.SocketExchange.when_writable`."""
        if self.writable or self.closed is not None:
            callback()
        else:
            self._drain_waiters += (callback,)

    def close(self, code: int, reason: str = "") -> None:
        """See :meth:`twogate.socket_exchange.SocketExchange.close`."""
        if self.closed is None:
            self._messages.clear()
            self._held = 0
            self._begin_closing(code, reason)

    # For the hub.

    def offer(self, frame: bytes) -> bool:
        """See :meth:`twogate.realtime.hub.Sink.offer`.

        It needs no look at what the application is sending: a message of the application leaves
        whole and in one step, too, so no frame can fall between the fragments of another message
        (RFC 6455 §5.4).
        """
        if self.closed is not None:
            return False
        if self.writable:
            self._transport.write(frame)
            return True
        return self._let_wait(frame)

    def _let_wait(self, frame: bytes) -> bool:
        if self._backlog is None:
            self._backlog = Backlog(self._context.hub)
        if self._backlog.add(frame):
            return True
        self._begin_closing(_TRY_AGAIN_LATER, "this client reads too slowly")
        return False

    # For the server.

    @property
    def lasts(self) -> bool:
        """See :class:`twogate.connection.context.Connection`."""
        return self.closed is None

    def drain(self) -> None:
        """Close with 1012, "Service Restart"; what was received before may still be taken."""
        if self.closed is None:
            self._begin_closing(_SERVICE_RESTART, "the server is restarting")

    def tick(self, now: float) -> None:
        """Send a ping, or end what has timed out; called about once a second.

        :param now: seconds of any clock that never goes back, always the same.
        """
        if self._since is None:
            self._since = now
            self._heard = False
        elif self.closed is not None:
            self._tick_closing(now)
        elif self._settings.ping_interval > 0:
            self._tick_open(now)

    def abort(self) -> None:
        """Close without another word."""
        self._transport.abort()

    def _tick_open(self, now: float) -> None:
        # While reading is paused the peer cannot be heard, and that is not its fault. What it reads
        # is a sign of life, too: a ping waits behind all that was sent before it.
        if self._heard or self._paused or self._has_read():
            self._heard = self._pinged = False
            self._since = now
            return
        assert self._since is not None
        silence = now - self._since
        if not self._pinged:
            if silence >= self._settings.ping_interval:
                self._pinged = True
                self._since = now
                self._transport.write(_PING_FRAME)
                self._unsent = self._transport.get_write_buffer_size()
        elif 0 < self._settings.ping_timeout <= silence:
            self._give_up()

    def _tick_closing(self, now: float) -> None:
        assert self._since is not None
        if self._has_read():
            self._since = now
        elif now - self._since >= self._settings.close_timeout:
            self._transport.abort()

    def _has_read(self) -> bool:
        """Whether the peer has taken some of what it was sent since the last tick."""
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        return self._unsent < before

    def _give_up(self) -> None:
        self._transport.write(self._framing.fail(_INTERNAL_ERROR, "ping timeout"))
        self._transport.close()
        self._end(ClosedSocket(_ABNORMAL, "no answer to a ping"))

    # For the transport.

    def data_received(self, data: bytes) -> None:
        """Decode what came, as far as there is room for it."""
        self._heard = True
        self._framing.feed(data)
        self._pump()

    def eof_received(self) -> None:
        """Let the transport close: a WebSocket is never half-closed (RFC 6455 §7.1.1)."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End abnormally, unless it has ended already (RFC 6455 §7.1.5)."""
        self._paused = False
        if self.closed is None:
            self._end(ClosedSocket(_ABNORMAL, "the connection was lost"))
        self._context.forget(self)
        self._context.observer.connection_closed()

    def pause_writing(self) -> None:
        """The peer does not read as fast as we write."""
        self.writable = False

    def resume_writing(self) -> None:
        """The peer has read most of what was written, which is a sign of life."""
        self.writable = self._heard = True
        if self._pong:
            pong, self._pong = self._pong, b""
            self._transport.write(pong)
        backlog = self._backlog
        if backlog is not None:
            while backlog and self.writable:
                self._transport.write(backlog.take())
            if not backlog:
                self._backlog = None
        # Also when it is not writable again: broadcasts without end must not silence the
        # application, which sends one message for each time it is called.
        self._wake_writers()

    def _pump(self) -> None:
        """Decode messages until there are no more, or no more room."""
        framing, messages, settings = self._framing, self._messages, self._settings
        while (
            len(messages) < settings.queue_messages and self._held < settings.queue_bytes
        ) or self.closed is not None:
            event = framing.next_event()
            if event is None:
                return
            if isinstance(event, str | bytes):
                if self.closed is None:
                    messages.append(event)
                    self._held += len(event)
                    if self.listener is not None:
                        self.listener()
            elif event is PING:
                self._answer_ping()
            else:
                self._on_end(event)
                return
        self._paused = True
        self._transport.pause_reading()

    def _read_on(self) -> None:
        """Go on where :meth:`_pump` stopped, once half of the room is free."""
        settings = self._settings
        if (
            len(self._messages) <= settings.queue_messages // 2
            and self._held <= settings.queue_bytes // 2
        ):
            self._paused = False
            self._pump()
            if not self._paused and not self._transport.is_closing():
                self._transport.resume_reading()

    def _answer_ping(self) -> None:
        pong = self._framing.answer()
        if self.writable:
            self._transport.write(pong)
        else:
            self._pong = pong

    def _on_end(self, end: ClosedSocket) -> None:
        """The peer has sent a close frame or broken a rule; the framing decodes no more."""
        transport = self._transport
        answer = self._framing.answer()
        if answer:
            transport.write(answer)
        if self._framing.failed and transport.can_write_eof():
            # Closing now would reset the connection under what the peer still sends, and the close
            # frame that tells it why would be lost. So read and ignore, until it or a tick closes.
            transport.write_eof()
        else:
            transport.close()
        if self.closed is None:
            self._end(end)

    def _begin_closing(self, code: int, reason: str) -> None:
        while self._backlog:
            self._transport.write(self._backlog.take())
        self._transport.write(self._framing.close(code, reason))
        self._end(ClosedSocket(code, reason))
        if self._paused:
            self._paused = False
            self._pump()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _end(self, end: ClosedSocket) -> None:
        self.closed = end
        self._context.hub.drop(self)
        if self._backlog is not None:
            self._backlog.discard()
            self._backlog = None
        self._since = None  # a tick starts the time to close
        self._pong = b""
        self._wake_writers()
        if self.listener is not None:
            self.listener()

    def _wake_writers(self) -> None:
        waiters, self._drain_waiters = self._drain_waiters, ()
        for waiter in waiters:
            waiter()
