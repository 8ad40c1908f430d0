"""One HTTP/1.1 connection: the asyncio protocol between a transport and its exchanges.

Runs on the loop's thread. Reads requests ahead of their turn, answers them in order, and holds
each side to the other's speed. Knows nothing of gateways: a complete head goes to
``context.dispatch``, and what comes back comes through the exchange.

==========  ==================================================================================
phase       what the connection waits for, and for how long
==========  ==================================================================================
idle        the first byte of a request: ``keep_alive`` (``header_timeout`` for the first one)
head        the rest of the head: ``header_timeout`` from its first byte, however it trickles
busy        the application; a body that is read must make progress within ``body_timeout``
lingering   the peer's FIN after our last response: two seconds (RFC 9112 §9.6)
==========  ==================================================================================

In every phase a peer that takes none of the bytes it is sent for ``body_timeout`` is cut off.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from twogate.connection.flow import FileSender, WriteFlow
from twogate.errors import PeerError
from twogate.exchange import HIGH_WATER, Exchange, Peer, RequestBody
from twogate.protocol.events import END, RequestHead, Upgraded
from twogate.protocol.http1_reader import Http1Reader
from twogate.protocol.http1_writer import CONTINUE, Headers, Payload

if TYPE_CHECKING:
    from twogate.connection.context import Context

__all__ = ["HttpConnection"]

#: Requests that may wait their turn on one connection before it is no longer read.
_PIPELINE_DEPTH = 64
#: Seconds to wait for the peer to close after we have (RFC 9112 §9.6).
_LINGER = 2.0
#: Bytes of an unwanted body that are read past, because that is cheaper than a new connection.
_DISCARD = 262144
#: A body may trickle, but not slower than this many bytes a second on top of the body timeout.
_SLOWEST_BODY = 500

_BODY_TIMEOUT = PeerError(
    HTTPStatus.REQUEST_TIMEOUT, "The request's body did not arrive in time (--body-timeout)."
)
_HEADER_TIMEOUT = PeerError(
    HTTPStatus.REQUEST_TIMEOUT, "The request's header did not arrive in time (--header-timeout)."
)
#: Stands for the head of a request that was refused before it had one.
_NO_HEAD = RequestHead("GET", b"", b"", "1.1", [], keep_alive=False)


class HttpConnection(asyncio.Protocol):
    """Serves the requests of one client, one after the other.

    :param context: what all connections share.
    """

    __slots__ = (
        "_body_idle",
        "_body_seen",
        "_body_wait",
        "_broken",
        "_context",
        "_continue",
        "_current",
        "_deadline",
        "_dispatching",
        "_early",
        "_eof",
        "_flow",
        "_head_begun",
        "_lingering",
        "_peer",
        "_queue",
        "_reader",
        "_reading",
        "_receiving",
        "_send_mark",
        "_sender",
        "_transport",
        "_unread",
        "_unsent",
    )

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reader = Http1Reader(context.limits)
        self._flow = WriteFlow()
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._peer = Peer(None, ("", None))
        self._queue: deque[Exchange | PeerError] = deque()
        #: The exchange that is being answered.
        self._current: Exchange | None = None
        #: The exchange whose body is being read.
        self._receiving: Exchange | None = None
        #: An interim 100 is owed as soon as the body is wanted.
        self._continue: Exchange | None = None
        #: Bytes that came after a request to upgrade, for the next protocol.
        self._early: bytes | None = None
        self._sender: FileSender | None = None
        self._reading = True
        self._dispatching = False
        self._lingering = False
        self._broken = False
        self._eof = False
        self._head_begun = False
        self._deadline = 0.0
        #: Seconds spent on the body that is received, those since its last progress, and its size
        #: at the last tick.
        self._body_wait = 0.0
        self._body_idle = 0.0
        self._body_seen = 0
        #: Bytes that the peer had not taken at the last tick, and since when it takes none.
        self._unsent = 0
        self._send_mark = 0.0
        #: Bytes of an unwanted body that were read past.
        self._unread = 0

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._peer = _describe(self._transport)
        context = self._context
        context.connections.add(self)
        context.observer.connection_opened()
        self._deadline = context.soon + context.header_timeout

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self._context.forget(self)
        self._context.observer.connection_closed()
        if self._sender is not None:
            self._sender.close()
        self._leave()
        self._flow.resume()
        self._reader.close()

    def _leave(self) -> None:
        """Tell every exchange on this connection that its client is gone."""
        self._deadline = 0.0
        current, self._current, self._receiving = self._current, None, None
        waiting = [item for item in self._queue if isinstance(item, Exchange)]
        self._queue.clear()
        for exchange in ([current] if current else []) + waiting:
            exchange.disconnect()
        if current is not None:
            self._report(current)

    def eof_received(self) -> bool:  # noqa: D102
        # The client may only have finished writing: what it asked for is still answered. But most
        # of the time it is gone, so an application that listens for that is told.
        self._eof = True
        if self._receiving in self._queue:
            # Cut off before its turn: nobody has seen it, and those before it are answered.
            self._queue.pop()
            self._receiving = None
        if self._receiving is not None or self._lingering:
            return False
        if self._current is not None:
            self._current.half_close()
        return self._current is not None or bool(self._queue)

    def pause_writing(self) -> None:  # noqa: D102
        self._flow.pause()

    def resume_writing(self) -> None:  # noqa: D102
        self._flow.resume()
        if self._queue:
            self._next()

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._lingering:
            return
        if self._early is not None:
            self._keep_early(data)
            return
        for event in self._reader.receive(data):
            if event is END:
                if self._receiving is not None:
                    self._end_body()
            elif type(event) is RequestHead:
                self._begin(event)
            elif type(event) is bytes:
                self._feed_body(event)
            elif type(event) is Upgraded:
                self._early = event.rest
            else:
                self._break(cast(PeerError, event))
        if self._queue:
            self._next()
            if len(self._queue) >= _PIPELINE_DEPTH:
                self._pause_reading()
        elif self._current is None and self._reader.mid_head:
            self._begin_head()

    # Reading requests.

    def _begin_head(self) -> None:
        """A head has begun and is not complete: its time starts with its first byte."""
        if not self._head_begun:
            self._head_begun = True
            self._deadline = self._context.soon + self._context.header_timeout

    def _begin(self, head: RequestHead) -> None:
        exchange = Exchange(head, self._peer, self)
        self._queue.append(exchange)
        if head.content_length != 0:
            self._receiving = exchange
            self._body_wait = self._body_idle = 0.0
        if head.expects_continue:
            self._continue = exchange
        if head.is_websocket or head.expects_continue or self._context.draining:
            exchange.encoder.keep_alive = False
        exchange.debug = self._context.debug

    def _feed_body(self, data: bytes) -> None:
        exchange = self._receiving
        if exchange is None:
            return
        if self._continue is exchange:
            self._body_will_come(exchange)
        body = exchange.body
        if exchange.disconnected or (exchange.encoder.finished and exchange is not self._current):
            self._discard_body(exchange, len(data))
            return
        body.feed(data)
        if body.paused:
            self._pause_reading()

    def _body_will_come(self, exchange: Exchange) -> None:
        """The body that was announced with ``Expect`` is sent after all.

        Until then it is unknown whether the client's next bytes are that body or a new request, so
        a response that comes first closes the connection.
        """
        self._continue = None
        if not self._context.draining and not exchange.encoder.head_sent:
            exchange.encoder.keep_alive = exchange.head.keep_alive

    def _discard_body(self, exchange: Exchange, size: int) -> None:
        exchange.body.received += size
        self._unread += size
        if self._unread > _DISCARD:
            self._linger()

    def _end_body(self) -> None:
        exchange, self._receiving = self._receiving, None
        if self._continue is exchange:
            self._continue = None
        if exchange is None:
            return
        exchange.body.end()
        if not self._reading:
            # A full body stops the reading; now that it is complete, the peer may leave.
            self._resume_reading()
        if exchange.encoder.finished and exchange is not self._current:
            self._become_idle()

    def _break(self, error: PeerError) -> None:
        """The peer broke a rule: answer it in its turn, and read nothing more."""
        receiving, self._receiving = self._receiving, None
        if receiving is None:
            self._queue.append(error)
            return
        # Inside a body: the exchange it belongs to cannot be completed.
        if receiving is self._current or receiving not in self._queue:
            self._answer_for(receiving, error)
        else:
            self._queue.remove(receiving)
            self._queue.append(error)

    def _answer_for(self, exchange: Exchange, error: PeerError) -> None:
        """Answer in the application's stead, unless it has begun to answer itself."""
        if exchange is not self._current:
            self._linger()
            return
        started = exchange.encoder.head_sent
        self._current = None
        exchange.disconnect()
        if started:
            self._report(exchange)
            self._transport.abort()
        else:
            self._refuse(error, exchange.head)

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        """Read on, unless requests or the body at hand are still too many to hold."""
        if self._reading or self._transport.is_closing() or len(self._queue) >= _PIPELINE_DEPTH:
            return
        if self._receiving is None or not self._receiving.body.paused:
            self._reading = True
            self._transport.resume_reading()

    def _keep_early(self, data: bytes) -> None:
        self._early = (self._early or b"") + data
        if len(self._early) > HIGH_WATER:
            self._pause_reading()

    # Answering them in order.

    def _next(self) -> None:
        """Start on the next request that waits; a loop, so that a pipeline cannot nest.

        Not before the peer has taken the answers so far: it could ask for any amount of them.
        """
        if self._dispatching:
            return
        context = self._context
        self._dispatching = True
        flow = self._flow
        while self._current is None and self._queue and flow.writable and not self._lingering:
            item = self._queue.popleft()
            if isinstance(item, PeerError):
                self._refuse(item)
                break
            self._current = item
            self._deadline = 0.0
            self._head_begun = False
            if self._eof:
                item.half_close()
            context.dispatch(item)
        self._dispatching = False

    def _refuse(self, error: PeerError, head: RequestHead = _NO_HEAD) -> None:
        """Answer a request in the application's stead and read no further."""
        exchange = Exchange(replace(head, keep_alive=False), self._peer, self)
        exchange.gateway, exchange.reason = "server", error.message
        self._queue.clear()
        self._broken = True
        self._current = exchange
        client = self._peer.client
        self._context.observer.request_refused(
            client[0] if client else "", error.status, error.message
        )
        exchange.refuse(error)

    def _finished(self, exchange: Exchange) -> None:
        self._current = None
        self._report(exchange)
        exchange.finish()
        # Draining alone does not close: a response that promised to keep the connection may have
        # brought the next request on its way. That one is told; see drain().
        if (self._eof and not self._queue) or not exchange.encoder.keep_alive:
            self._linger()
        elif exchange.body.complete:
            self._become_idle()
        elif (exchange.head.content_length or 0) - exchange.body.received > _DISCARD:
            self._linger()
        else:
            self._unread = 0
            self._deadline = self._context.soon + self._context.keep_alive
            self._resume_reading()

    def _become_idle(self) -> None:
        context = self._context
        mid_head = self._reader.mid_head
        self._deadline = context.soon + (context.header_timeout if mid_head else context.keep_alive)
        self._head_begun = mid_head
        if self._queue:
            self._next()
        if not self._reading:
            self._resume_reading()

    def _linger(self) -> None:
        """Close so that the last response arrives: FIN first, then wait for the peer's.

        Closing while unread bytes wait would reset the connection and could destroy the response
        on its way (RFC 9112 §9.6).
        """
        if self._lingering or self._transport.is_closing():
            return
        self._lingering = True
        self._deadline = self._context.soon + _LINGER
        more_to_come = self._receiving is not None or bool(self._queue) or self._broken
        self._queue.clear()
        if self._eof or not more_to_come:
            # Nothing of the peer's is unread, as far as we know: a plain close is clean.
            self._transport.close()
            return
        self._transport.write_eof()
        self._receiving = None
        self._resume_reading()

    def _report(self, exchange: Exchange) -> None:
        duration = time.perf_counter() - exchange.received_at
        self._context.observer.request_finished(exchange, duration)

    # The carrier's side of an exchange.

    @property
    def writable(self) -> bool:
        """See :class:`twogate.exchange.Carrier`."""
        return self._flow.writable

    @property
    def default_headers(self) -> Headers:
        """See :class:`twogate.exchange.Carrier`."""
        return self._context.default_headers

    def write(self, exchange: Exchange, payload: Payload, end: bool) -> None:
        """See :class:`twogate.exchange.Carrier`."""
        if exchange is not self._current:
            return
        if isinstance(payload, bytes):
            self._transport.write(payload)
        else:
            self._transport.writelines(payload)
        if end:
            self._finished(exchange)
        else:
            exchange.begun = True

    def want_body(self, body: RequestBody) -> None:
        """See :class:`twogate.exchange.Carrier`."""
        receiving = self._receiving
        if receiving is None or receiving.body is not body:
            return
        if self._continue is receiving is self._current and not receiving.encoder.head_sent:
            self._body_will_come(receiving)
            self._transport.write(CONTINUE)
        self._resume_reading()

    def when_writable(self, callback: Callable[[], None]) -> None:
        """See :class:`twogate.exchange.Carrier`."""
        self._flow.when_writable(callback)

    def send_file(self, exchange: Exchange, fd: int, offset: int, count: int) -> None:
        """See :class:`twogate.exchange.Carrier`."""
        if exchange is not self._current or self._transport.is_closing():
            os.close(fd)
            return
        transport = self._transport

        def done(left: int) -> None:
            self._sender = None
            if not transport.is_closing():
                transport.set_write_buffer_limits(high=HIGH_WATER)
            if left:
                transport.abort()
            elif exchange is self._current:
                exchange.encoder.finished = True
                self._finished(exchange)

        def begin() -> None:
            if exchange is not self._current or transport.is_closing():
                os.close(fd)
                return
            descriptor = transport.get_extra_info("socket").fileno()
            loop = self._context.loop
            self._sender = FileSender(loop, descriptor, fd, offset, count, done)

        # sendfile goes around the transport's buffer, so that must be empty first.
        transport.set_write_buffer_limits(high=0)
        self._flow.when_writable(begin)

    def upgrade(self, exchange: Exchange, make: Callable[..., Any]) -> Any:
        """See :class:`twogate.exchange.Carrier`."""
        early, self._early = self._early or b"", None
        self._reader.close()
        self._current = None
        self._deadline = 0.0
        context = self._context
        context.connections.discard(self)
        successor = make(self._transport, early, context)
        self._transport.set_protocol(successor)
        context.connections.add(successor)
        self._reading = True
        self._transport.resume_reading()
        return successor

    def abort(self, exchange: Exchange | None = None) -> None:
        """Close without another word; with an exchange, only if it is the current one."""
        if exchange is None or exchange is self._current:
            self._transport.abort()

    # The server's sweep and shutdown.

    def tick(self, now: float) -> None:
        """See :class:`twogate.connection.context.Connection`."""
        if self._deadline:
            if now > self._deadline:
                self._expire(now)
        elif self._current is not None:
            self._is_sending(now)
            if self._receiving is self._current:
                self._watch_body(self._current)

    def _expire(self, now: float) -> None:
        if self._is_sending(now):
            # The time of what comes next begins when the last response has arrived.
            self._deadline = now + (_LINGER if self._lingering else self._context.keep_alive)
        elif self._lingering:
            self._transport.abort()
        elif self._reader.mid_head:
            self._refuse(_HEADER_TIMEOUT)
        else:
            self._transport.close()

    def _is_sending(self, now: float) -> bool:
        """Whether bytes wait for the peer; cuts off one that takes none for ``body_timeout``."""
        unsent = self._count_unsent()
        if unsent != self._unsent:
            self._unsent, self._send_mark = unsent, now
        elif unsent and now - self._send_mark > self._context.body_timeout:
            self._transport.abort()
        return unsent > 0

    def _count_unsent(self) -> int:
        """Bytes the peer has still to take, of those that did not fit into the socket's buffer."""
        sender, transport = self._sender, self._transport
        unsent = transport.get_write_buffer_size() + (sender.left if sender is not None else 0)
        if unsent:
            # The kernel wants more only when a third of its buffer is free. A slow peer may take
            # minutes for that, and is seen to make progress only there.
            unsent += _in_kernel(transport.get_extra_info("socket").fileno())
        return unsent

    def _watch_body(self, exchange: Exchange) -> None:
        """Once a tick: does the body that the application waits for come fast enough?"""
        context, body = self._context, exchange.body
        if body.paused or self._continue is exchange:
            return
        if exchange.head.chunked:
            # It may be a conversation, and its sender may wait for an answer to what there is. A
            # body of known length is worth waiting for: it costs no thread until it is here.
            body.hurry()
        self._body_wait += context.interval
        self._body_idle += context.interval
        if body.received != self._body_seen:
            self._body_seen, self._body_idle = body.received, 0.0
        allowed = context.body_timeout + body.received / _SLOWEST_BODY
        if self._body_idle > context.body_timeout or self._body_wait > allowed:
            self._receiving = None
            self._answer_for(exchange, _BODY_TIMEOUT)

    @property
    def lasts(self) -> bool:
        """See :class:`twogate.connection.context.Connection`."""
        return self._current is not None and self._current.encoder.is_event_stream

    def drain(self) -> None:
        """See :class:`twogate.connection.context.Connection`."""
        if self._current is not None and self._current.encoder.is_event_stream:
            self._end_stream(self._current)
        elif self._current is None and not self._queue:
            if not self._reader.mid_head:
                self._transport.close()
        else:
            last = self._queue[-1] if self._queue else self._current
            if isinstance(last, Exchange):
                last.encoder.keep_alive = False

    def _end_stream(self, exchange: Exchange) -> None:
        """Complete a stream of events in the application's stead, which is told that its client has
        gone. The client comes back with the number of its last event, and drops one that was cut
        in two (HTML, "Server-sent events": "Parsing an event stream")."""
        encoder = exchange.encoder
        if getattr(exchange, "begun", False):
            end: Payload = encoder.last_bytes
        elif encoder.head_sent:
            return  # a worker thread has just made the head: ended when the server looks again
        else:
            encoder.keep_alive = False
            end = encoder.encode(b"", True, self._context.default_headers)
        # First of all, so that nobody encodes another piece.
        exchange.disconnect()
        if end:
            self._transport.writelines([end] if isinstance(end, bytes) else end)
        self._current = None
        self._report(exchange)
        self._linger()


def _in_kernel(descriptor: int) -> int:
    """Bytes that were given to a socket and that its peer has not acknowledged."""
    try:
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except OSError:  # pragma: no cover - a system that does not tell
        return 0
    return int(struct.unpack("i", answer)[0])


def _describe(transport: asyncio.Transport) -> Peer:
    """Who talks to whom; a UNIX socket has no client address."""
    scheme = "https" if transport.get_extra_info("sslcontext") else "http"
    local = transport.get_extra_info("sockname")
    remote = transport.get_extra_info("peername")
    if transport.get_extra_info("socket").family == socket.AF_UNIX:
        path = local.decode() if isinstance(local, bytes) else local
        return Peer(None, (path, None), scheme)
    # An IPv6 address comes with flow and scope, which nobody asks for.
    return Peer((remote[0], remote[1]) if remote else None, (local[0], local[1]), scheme)
