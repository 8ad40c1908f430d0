"""One HTTP/1.1 connection: the asyncio protocol between a transport and its exchanges.

Runs on the loop's thread. Reads requests ahead of their turn, answers them in order, and holds
each side to the other's speed. Knows nothing of gateways: a complete head goes to
``context.dispatch``, and what comes back comes through the exchange.

==========  ==================================================================================
phase       what the connection waits for, and for how long
==========  ==================================================================================
idle        the first byte of a request: ``keep_alive`` (``header_timeout`` for the first one)
head        the rest of the head: ``header_timeout`` from its first byte, however it trickles
busy        the application; a body that is wanted, or a response that is offered, must make
            progress within ``body_timeout``
lingering   the peer's FIN after our last response: two seconds (RFC 9112 §9.6)
==========  ==================================================================================
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable
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


class HttpConnection(asyncio.Protocol):
    """Serves the requests of one client, one after the other.

    :param context: what all connections share.
    """

    __slots__ = (
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
        "_send_wait",
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
        #: Seconds the current exchange has waited for its body, and for the peer to take bytes.
        self._body_wait = 0.0
        self._send_wait = 0.0
        #: Bytes left to send at the last tick; bytes of an unwanted body read past.
        self._unsent = 0
        self._unread = 0

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._peer = _describe(self._transport)
        context = self._context
        context.connections.add(self)
        context.observer.connection_opened()
        self._deadline = context.now + context.header_timeout

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self._context.forget(self)
        self._context.observer.connection_closed()
        if self._sender is not None:
            self._sender.close()
        self._leave()
        self._flow.resume()

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
        if self._receiving is not None or self._current is None or self._lingering:
            return False
        self._current.half_close()
        return True

    def pause_writing(self) -> None:  # noqa: D102
        self._flow.pause()

    def resume_writing(self) -> None:  # noqa: D102
        self._flow.resume()

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._lingering:
            return
        if self._early is not None:
            self._keep_early(data)
            return
        for event in self._reader.receive(data):
            if event is END:
                self._end_body()
            elif type(event) is RequestHead:
                self._begin(event)
            elif type(event) is bytes:
                self._feed_body(event)
            elif type(event) is Upgraded:
                self._early = event.rest
            else:
                self._break(cast(PeerError, event))
        if self._current is not None:
            if len(self._queue) >= _PIPELINE_DEPTH:
                self._pause_reading()
        elif self._queue:
            self._next()
        elif self._reader.mid_head:
            self._begin_head()

    # Reading requests.

    def _begin_head(self) -> None:
        """A head has begun and is not complete: its time starts with its first byte."""
        if not self._head_begun:
            self._head_begun = True
            self._deadline = self._context.now + self._context.header_timeout

    def _begin(self, head: RequestHead) -> None:
        exchange = Exchange(head, self._peer, self)
        self._queue.append(exchange)
        self._receiving = exchange
        self._body_wait = 0.0
        if head.expects_continue:
            self._continue = exchange
        if head.is_websocket or self._context.draining:
            exchange.encoder.keep_alive = False
        exchange.debug = self._context.debug

    def _feed_body(self, data: bytes) -> None:
        exchange = self._receiving
        if exchange is None:
            return
        body = exchange.body
        if exchange.disconnected or (exchange.encoder.finished and exchange is not self._current):
            self._discard_body(exchange, len(data))
            return
        body.feed(data)
        if body.paused:
            self._pause_reading()

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
            self._context.observer.request_finished(exchange, _since(exchange))
            self._transport.abort()
        else:
            self._refuse(error)

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def _keep_early(self, data: bytes) -> None:
        self._early = (self._early or b"") + data
        if len(self._early) > HIGH_WATER:
            self._pause_reading()

    # Answering them in order.

    def _next(self) -> None:
        """Start on the next request that waits; a loop, so that a pipeline cannot nest."""
        if self._dispatching:
            return
        self._dispatching = True
        while self._current is None and self._queue and not self._lingering:
            item = self._queue.popleft()
            if isinstance(item, PeerError):
                self._refuse(item)
                break
            self._current = item
            self._deadline = 0.0
            self._send_wait = 0.0
            self._head_begun = False
            self._context.dispatch(item)
        self._dispatching = False
        if len(self._queue) < _PIPELINE_DEPTH and not self._reading and self._current is None:
            self._resume_reading()

    def _refuse(self, error: PeerError) -> None:
        """Answer a request that never became an exchange of its own."""
        head = RequestHead("GET", b"", b"", "1.1", [], keep_alive=False)
        exchange = Exchange(head, self._peer, self)
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
        self._context.observer.request_finished(exchange, _since(exchange))
        exchange.finish()
        # Draining alone does not close: a response that promised to keep the connection may have
        # brought the next request on its way. That one is told; see drain().
        if (self._eof and not self._queue) or not exchange.encoder.keep_alive:
            self._linger()
        elif exchange.body.complete:
            self._become_idle()
        elif self._continue is exchange:
            # The client may or may not send the body it announced: only closing is unambiguous.
            self._linger()
        else:
            self._unread = exchange.body.buffered
            self._deadline = self._context.now + self._context.keep_alive
            self._resume_reading()

    def _become_idle(self) -> None:
        context = self._context
        mid_head = self._reader.mid_head
        self._deadline = context.now + (context.header_timeout if mid_head else context.keep_alive)
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
        self._queue.clear()
        if self._eof or (self._receiving is None and not self._broken):
            # Nothing of the peer's is unread, as far as we know: a plain close is clean.
            self._transport.close()
            return
        self._deadline = self._context.now + _LINGER
        self._transport.write_eof()
        self._resume_reading()

    def _report(self, exchange: Exchange) -> None:
        self._context.observer.request_finished(exchange, _since(exchange))

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

    def want_body(self, body: RequestBody) -> None:
        """See :class:`twogate.exchange.Carrier`."""
        receiving = self._receiving
        if receiving is None or receiving.body is not body:
            return
        if self._continue is receiving is self._current:
            self._continue = None
            if not receiving.encoder.head_sent:
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
                self._expire()
        elif self._current is not None:
            self._watch(self._current)

    def _expire(self) -> None:
        if self._lingering:
            self._transport.abort()
        elif self._reader.mid_head:
            self._refuse(_HEADER_TIMEOUT)
        else:
            self._transport.close()

    def _watch(self, exchange: Exchange) -> None:
        """Once a tick while busy: is the peer keeping up?"""
        context, body = self._context, exchange.body
        if self._receiving is exchange and not body.paused:
            body.hurry()
            if self._continue is exchange:
                return
            self._body_wait += context.interval
            if self._body_wait > context.body_timeout + body.received / _SLOWEST_BODY:
                self._receiving = None
                self._answer_for(exchange, _BODY_TIMEOUT)
        elif not self._flow.writable or self._sender is not None:
            unsent = self._transport.get_write_buffer_size()
            unsent += self._sender.left if self._sender is not None else 0
            self._send_wait = self._send_wait + context.interval if unsent == self._unsent else 0.0
            self._unsent = unsent
            if self._send_wait > context.body_timeout:
                self._transport.abort()

    def drain(self) -> None:
        """See :class:`twogate.connection.context.Connection`."""
        if self._current is None:
            if not self._reader.mid_head:
                self._transport.close()
        else:
            last = self._queue[-1] if self._queue else self._current
            if isinstance(last, Exchange):
                last.encoder.keep_alive = False


_BODY_TIMEOUT = PeerError(
    HTTPStatus.REQUEST_TIMEOUT, "The request's body did not arrive in time (--body-timeout)."
)
_HEADER_TIMEOUT = PeerError(
    HTTPStatus.REQUEST_TIMEOUT, "The request's header did not arrive in time (--header-timeout)."
)


def _since(exchange: Exchange) -> float:
    return time.perf_counter() - exchange.received_at


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
