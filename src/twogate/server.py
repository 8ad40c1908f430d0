"""One loop's server: listeners, connections, the sweep, and a graceful end.

Usable in any process that runs a loop (a worker, a test, the lab). Knows no supervisor, no signals
and no Django; the applications, the configuration and the observer are handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from twogate.admission import Admission, Origins
from twogate.admission import Limits as SocketLimits
from twogate.config import Config
from twogate.connection.context import Context
from twogate.connection.http import HttpConnection
from twogate.connection.websocket import WebSocketSettings, opener
from twogate.dispatch import Applications, Dispatcher
from twogate.exchange import Exchange
from twogate.gateway.asgi import AsgiGateway
from twogate.gateway.asgi_websocket import AsgiWebSocketGateway
from twogate.gateway.lifespan import Lifespan
from twogate.gateway.threads import WorkerThreads
from twogate.gateway.wsgi import WsgiGateway
from twogate.observe.observer import Observer, Relay
from twogate.observe.stalls import StallWatch
from twogate.protocol.http1_reader import Limits
from twogate.realtime import topics
from twogate.realtime.hub import Hub
from twogate.sessions import Sessions

__all__ = ["Server"]

logger = logging.getLogger("twogate.server")

#: Seconds between the end of accepting and the closing of idle connections, if any are left: a
#: request that is on its way to one of them, or to a connection accepted just now, must find it
#: open. A client on the other side of the world, or on a busy machine, needs most of it.
_LAST_CALL = 1.0
#: The part of the graceful timeout that the last call may take.
_LAST_CALL_SHARE = 0.25
#: WebSockets of one public address, where nobody says how many.
_PER_PUBLIC_ADDRESS = 100
#: The part of the graceful timeout in which WebSockets and streams of events are ended, at most.
_CLOSE_SHARE = 1 / 3
#: Seconds between two of them, at most: a few need not be spread.
_FAR_APART = 0.1
#: Seconds between two looks for those that have begun meanwhile.
_LOOK_AGAIN = 0.2
#: Seconds that consumers have for ``disconnect()`` even when the time is over.
_FAREWELL = 1.0
#: Seconds for what the last event-loop turns have to say, even when nobody is waited for: the close
#: frames of WebSockets.
_MOMENT = 0.1
#: Seconds a loop that has everything else done waits for worker threads to end, and the part of the
#: graceful timeout: what they still do is for clients that have gone.
_THREADS_GRACE = 1.0
_THREADS_SHARE = 1 / 6


class Server:
    """Serves the applications on listening sockets.

    :param applications: what to serve.
    :param config: how.
    :param observer: is told what happens.
    """

    def __init__(self, applications: Applications, config: Config, observer: Observer) -> None:
        self._applications = applications
        self._config = config
        if applications.tracer is not None:
            observer = applications.tracer.listening(observer)
        self._observer = _Counter(observer)
        self._observer.on_limit = self._retire
        self._listeners: list[asyncio.AbstractServer] = []
        #: The listening sockets once more, for :meth:`_accept_the_rest`.
        self._spares: list[socket.socket] = []
        self._started = False
        self._stalls: StallWatch | None = None
        #: Set by :meth:`stop`: the one end there is.
        self._end: asyncio.Task[None] | None = None
        #: Called once, when ``max_requests`` have been answered.
        self.on_retire: Callable[[], None] | None = None

    async def start(self, sockets: list[socket.socket]) -> None:
        """Run the application's start-up, then accept connections on bound sockets.

        :raises WorkerFailed: the application's lifespan start-up failed.
        """
        config = self._config
        loop = asyncio.get_running_loop()
        self._threads = WorkerThreads(loop, config.threads)
        if self._applications.use_threads is not None:
            self._applications.use_threads(self._threads)
        self._lifespan: Lifespan | None = None
        if self._applications.asgi is not None and config.gateway != "wsgi":
            self._lifespan = Lifespan(self._applications.asgi, config.lifespan)
            await self._lifespan.startup()
        self._context = self._make_context(loop)
        self._detach_hub = topics.attach(self._context.hub, loop)
        self._started = True
        if config.stall_threshold and (config.reload or self._applications.debug):
            self._stalls = StallWatch(loop, config.stall_threshold)
        self._sweep()
        self._observer.limit = _with_jitter(config.max_requests, config.max_requests_jitter)
        for sock in sockets:
            self._spares.append(sock.dup())
            self._listeners.append(
                await loop.create_server(self._connect, sock=sock, backlog=config.backlog)
            )

    def _connect(self) -> HttpConnection:
        return HttpConnection(self._context)

    def _make_context(self, loop: asyncio.AbstractEventLoop) -> Context:
        config = self._config
        keep_alive = config.keep_alive or math.inf
        header_timeout = config.header_timeout or math.inf
        body_timeout = config.body_timeout or math.inf
        shortest = min(keep_alive, header_timeout, body_timeout)
        return Context(
            loop=loop,
            dispatch=self._make_dispatcher(loop),
            observer=self._observer,
            limits=Limits(
                request_line=config.limit_request_line,
                fields=config.limit_request_fields,
                field_size=config.limit_request_field_size,
                head=config.limit_request_head,
                body=config.limit_request_body,
            ),
            keep_alive=keep_alive,
            header_timeout=header_timeout,
            body_timeout=body_timeout,
            interval=min(1.0, max(0.05, shortest / 4)),
            debug=self._applications.debug,
            hub=Hub(config.websocket_broadcast_buffer, config.websocket_slow_reader),
        )

    def _make_dispatcher(self, loop: asyncio.AbstractEventLoop) -> Callable[[Exchange], None]:
        applications, config, tracer = self._applications, self._config, self._applications.tracer
        wsgi = asgi = websocket = None
        if applications.wsgi is not None:
            wsgi = WsgiGateway(
                applications.wsgi,
                self._threads,
                self._observer,
                multiprocess=config.workers > 1,
                around=tracer.running if tracer is not None else None,
            )
        self._asgi: AsgiGateway | None = None
        self._websocket: AsgiWebSocketGateway | None = None
        self._admission: Admission | None = None
        if applications.asgi is not None:
            state = self._lifespan.state if self._lifespan is not None else {}
            self._asgi = asgi = AsgiGateway(applications.asgi, loop, self._observer, state)
            self._websocket = AsgiWebSocketGateway(
                applications.asgi,
                loop,
                self._observer,
                state,
                opener(
                    WebSocketSettings(
                        ping_interval=config.websocket_ping_interval,
                        ping_timeout=config.websocket_ping_timeout,
                    )
                ),
                max_message_size=config.websocket_max_message_size,
                compression=config.websocket_compression,
            )
            self._admission = websocket = self._make_admission(self._websocket, loop)
        dispatch = Dispatcher(
            wsgi=wsgi,
            asgi=asgi,
            websocket=websocket,
            chooser=applications.chooser,
            forced=config.gateway,
        )
        return dispatch if tracer is None else tracer.dispatching(dispatch)

    def _make_admission(
        self, gateway: AsgiWebSocketGateway, loop: asyncio.AbstractEventLoop
    ) -> Admission:
        applications, config = self._applications, self._config
        most, store = config.websocket_per_address, applications.sessions
        return Admission(
            gateway,
            Origins(
                applications.websocket_origins or config.websocket_origins,
                applications.allows_host,
            ),
            SocketLimits(
                per_address=_PER_PUBLIC_ADDRESS if most is None else most,
                per_user=config.websocket_per_user,
                private=most is not None,
            ),
            Sessions(store, loop) if store is not None else None,
            self._observer,
        )

    def _sweep(self) -> None:
        """About once a second: renew the Date header and look at every connection's deadline."""
        context = self._context
        context.now = context.loop.time()
        context.soon = context.now + context.interval
        self._sweeper = context.loop.call_later(context.interval, self._sweep)
        headers = [(b"Date", formatdate(usegmt=True).encode())]
        if self._config.server_header:
            headers.append((b"Server", b"twogate"))
        context.default_headers = tuple(headers)
        for connection in list(context.connections):
            connection.tick(context.now)
        context.hub.tick(context.now)
        if self._admission is not None:
            self._admission.tick(context.now)

    async def stop(self, graceful_timeout: float) -> None:
        """Stop accepting, finish what is under way within ``graceful_timeout`` s, cut the rest.

        Connections that wait for their first or next request are closed after a moment. Called
        again, it waits for the end that is on its way; before :meth:`start` there is nothing to do.
        """
        if not self._started:
            return
        if self._end is None:
            self._end = self._context.loop.create_task(self._stop(graceful_timeout))
        await asyncio.shield(self._end)

    async def _stop(self, graceful_timeout: float) -> None:
        context = self._context
        if self._stalls is not None:
            self._stalls.stop()
        deadline = context.loop.time() + graceful_timeout
        context.draining = True
        await self._stop_accepting()
        window = min(self._config.websocket_close_window, graceful_timeout * _CLOSE_SHARE)
        ending = context.loop.create_task(_end_what_lasts(context, window))
        await _drained(context, min(_LAST_CALL, graceful_timeout * _LAST_CALL_SHARE))
        for connection in list(context.connections):
            if not connection.lasts:
                connection.drain()
        await _drained(context, max(_MOMENT, deadline - context.loop.time()))
        ending.cancel()
        if context.connections:
            logger.warning(
                "%d connections were still busy after %g s and were cut (--graceful-timeout)",
                len(context.connections),
                graceful_timeout,
            )
        for connection in list(context.connections):
            connection.abort()
        # The connections are gone; what the application does about that may take a moment.
        left = max(0.0, deadline - context.loop.time())
        if self._asgi is not None and self._websocket is not None:
            await asyncio.gather(
                self._asgi.finish(left), self._websocket.finish(max(left, _FAREWELL))
            )
        if self._lifespan is not None:
            await self._lifespan.shutdown(max(1.0, deadline - context.loop.time()))
        if self._admission is not None:
            self._admission.close()
        self._detach_hub()
        self._sweeper.cancel()
        left = deadline - context.loop.time()
        patience = max(_THREADS_GRACE, min(left, graceful_timeout * _THREADS_SHARE))
        await context.loop.run_in_executor(None, self._threads.close, patience)

    async def _stop_accepting(self) -> None:
        """Close the listeners, but take the connections that wait in the kernel: closing the
        sockets would reset them."""
        for listener in self._listeners:
            listener.close()
        for _ in range(2):  # uvloop closes a listener's descriptor at the end of a turn
            await asyncio.sleep(0)
        for spare in self._spares:
            waiting = _accept_all(spare, self._config.backlog)
            spare.close()
            for sock in waiting:
                with contextlib.suppress(OSError):  # the client is gone already
                    await self._context.loop.connect_accepted_socket(self._connect, sock)

    def statistics(self) -> dict[str, Any]:
        """The state of the server now: connections, requests, threads, broadcasts, and what the
        whole process has carried of them to and from other processes; handshakes refused."""
        return {
            "connections": len(self._context.connections),
            "requests": self._observer.finished,
            "tasks": sum(g.running for g in (self._asgi, self._websocket) if g is not None),
            "threads": self._threads.statistics(),
            "broadcast": self._context.hub.statistics(),
            "admission": self._admission.statistics() if self._admission is not None else {},
            "carried": topics.statistics(),
        }

    def _retire(self) -> None:
        if self.on_retire is not None:
            self.on_retire()


class _Counter(Relay):
    """Counts the requests of one server on their way to the real observer."""

    def __init__(self, observer: Observer) -> None:
        self.finished = 0
        self.limit = 0
        self.on_limit: Callable[[], None] | None = None
        super().__init__(observer)
        self._finished = observer.request_finished

    def request_finished(self, exchange: Exchange, duration: float) -> None:
        self.finished += 1
        self._finished(exchange, duration)
        if self.finished == self.limit and self.on_limit is not None:
            self.on_limit()


async def _drained(context: Context, timeout: float) -> None:
    """Wait until the last connection is gone, at most ``timeout`` seconds."""
    deadline = context.loop.time() + timeout
    while context.connections and (left := deadline - context.loop.time()) > 0:
        # There may have been none for a moment, before the last ones were accepted.
        context.drained.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.drained.wait(), left)


async def _end_what_lasts(context: Context, window: float) -> None:
    """End WebSockets and streams of events, spread over a time, in random order; and then those
    that requests under way have opened meanwhile. Runs until it is cancelled."""
    loop = context.loop
    while True:
        lasting = [connection for connection in context.connections if connection.lasts]
        random.shuffle(lasting)
        begun, spacing = loop.time(), min(_FAR_APART, window / max(1, len(lasting)))
        for number, connection in enumerate(lasting):
            wait = begun + number * spacing - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            if connection.lasts:
                connection.drain()
        window = 0.0
        await asyncio.sleep(_LOOK_AGAIN)


def _accept_all(listening: socket.socket, most: int) -> list[socket.socket]:
    """Accept until nobody waits; never blocks."""
    accepted: list[socket.socket] = []
    with contextlib.suppress(OSError):  # BlockingIOError: nobody waits any more
        listening.setblocking(False)
        while len(accepted) < most:
            accepted.append(listening.accept()[0])
    for sock in accepted:
        sock.setblocking(False)
    return accepted


def _with_jitter(limit: int, jitter: int) -> int:
    """Spread the end of the workers' lives, so that they do not all restart together."""
    return limit + random.randint(0, jitter) if limit else 0
