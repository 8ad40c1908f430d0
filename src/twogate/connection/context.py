"""What all connections of one server share. Belongs to the loop's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from twogate.exchange import Exchange
from twogate.observe.observer import Observer
from twogate.protocol.http1_reader import Limits
from twogate.protocol.http1_writer import Headers
from twogate.realtime.hub import Hub

__all__ = ["Connection", "Context"]


class Connection(Protocol):
    """What the server's sweep and shutdown ask of any connection."""

    #: Whether what it carries goes on for ever unless it is ended: an open WebSocket, or a stream
    #: of Server-Sent Events.
    @property
    def lasts(self) -> bool: ...  # noqa: D102

    def tick(self, now: float) -> None:
        """Called about once a second with the loop's time: see whether a deadline has passed."""

    def drain(self) -> None:
        """Finish what is under way, begin nothing new, then close; end what lasts."""

    def abort(self) -> None:
        """Close at once."""


@dataclass(slots=True)
class Context:
    """Shared by the connections of one server.

    :ivar dispatch: takes each complete head to a gateway.
    :ivar keep_alive: seconds an idle connection is kept.
    :ivar header_timeout: seconds from the first byte of a head to its last.
    :ivar body_timeout: seconds without progress, on a request body that is wanted or a response
        that is offered.
    :ivar now: the loop's time at the last sweep, in seconds; never more than a tick old.
    :ivar soon: the loop's time at the next sweep: deadlines count from it, so that none is early.
    :ivar interval: seconds between two sweeps.
    :ivar default_headers: ``Date`` and ``Server``, renewed by the sweep.
    :ivar draining: the server is about to stop: connections close after their current response.
    :ivar connections: all that are open.
    :ivar hub: the topics that WebSockets have joined.
    :ivar drained: set when the server is draining and the last connection is gone.
    """

    loop: asyncio.AbstractEventLoop
    dispatch: Callable[[Exchange], None]
    observer: Observer
    limits: Limits
    keep_alive: float
    header_timeout: float
    body_timeout: float
    now: float = 0.0
    soon: float = 0.0
    interval: float = 1.0
    default_headers: Headers = ()
    draining: bool = False
    debug: bool = False
    connections: set[Connection] = field(default_factory=set)
    hub: Hub = field(default_factory=Hub)
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self, connection: Connection) -> None:
        """A connection is gone; the last one of a server that stops ends the wait for it."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self.drained.set()
