"""The waist, its WebSocket half: one open WebSocket between a connection and a gateway.

The connection side is one (it decodes, holds back and writes), the gateway side uses one; neither
knows the other. Everything here belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from twogate.protocol.websocket import ClosedSocket, Message, WebSocketFraming

__all__ = ["OpenSocket", "SocketExchange", "Ticket"]


class SocketExchange(Protocol):
    """One WebSocket that was accepted, as its gateway sees it."""

    #: Whether the peer reads as fast as we write.
    writable: bool
    #: How the WebSocket ended; ``None`` while it is open. Messages that came before may still wait.
    closed: ClosedSocket | None
    #: Called when there is something new to take; the gateway sets it, and unsets it at its end.
    listener: Callable[[], None] | None

    def take(self) -> Message | ClosedSocket | None:
        """The next message, then once how the WebSocket ended; ``None`` when nothing waits."""

    def send(self, message: Message) -> None:
        """Send a message; look at :attr:`writable` first.

        :raises ClientDisconnected: the WebSocket is closed.
        """

    def join(self, topic: str) -> None:
        """Have what is broadcast to a topic sent to the peer; see :mod:`twogate.realtime`.

        A WebSocket that closes leaves everything; one that is closed joins nothing.
        """

    def leave(self, topic: str) -> None:
        """The opposite; does nothing when it has not joined."""

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once the peer has taken enough of what was sent, or the WebSocket is closed."""

    def close(self, code: int, reason: str = "") -> None:
        """Close; :attr:`closed` is set at once, and what was not taken is dropped.

        Does nothing when the WebSocket is closed already. Code and reason have passed
        :func:`~twogate.protocol.websocket.check_close`.
        """


class Ticket(Protocol):
    """What whoever let a WebSocket in wants to hear of it."""

    def opened(self, socket: SocketExchange) -> None:
        """The application has accepted it."""

    def over(self) -> None:
        """The application is done with it, or it never was one."""


#: Makes of a framing what :meth:`twogate.exchange.Exchange.upgrade` is given.
OpenSocket: TypeAlias = Callable[[WebSocketFraming], Callable[..., SocketExchange]]
