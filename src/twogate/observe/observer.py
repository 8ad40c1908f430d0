"""The named points at which something worth telling happens.

The code that does the work calls one :class:`Observer`; who listens is decided at start-up. Every
method is called on the loop's thread unless it says otherwise, must not block and must not raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twogate.exchange import Exchange

__all__ = ["Observer", "Observers", "Relay"]


class Observer:
    """Listens to nothing; subclasses override the points they care about."""

    def request_finished(self, exchange: Exchange, duration: float) -> None:
        """A response is complete or was cut short; ``exchange.encoder`` has status and size.

        :param duration: seconds from the complete head to the last byte handed to the socket.
        """

    def request_refused(self, client: str, status: int, message: str) -> None:
        """A peer broke the rules (``message`` says which) and was answered with ``status``."""

    def application_failed(self, exchange: Exchange, error: BaseException) -> None:
        """The application raised, or broke the rules of its gateway
        (:class:`~twogate.errors.ApplicationError`). Any thread."""

    def websocket_opened(self, exchange: Exchange) -> None:
        """The application accepted a WebSocket."""

    def websocket_closed(self, exchange: Exchange, code: int, reason: str, duration: float) -> None:
        """A WebSocket that was accepted is closed, with the close code the application saw."""

    def connection_opened(self) -> None:
        """A client connected."""

    def connection_closed(self) -> None:
        """A client's connection is gone."""

    def close(self) -> None:
        """The worker ends and nothing more will be told: write down what is held back."""


class Observers(Observer):
    """Passes each point on to several observers, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        listening = [
            o for o in observers if type(o).request_finished is not Observer.request_finished
        ]
        if len(listening) == 1:
            # The one point that every request passes: straight to the only one who listens.
            self.request_finished = listening[0].request_finished  # type: ignore[method-assign]

    def request_finished(self, exchange: Exchange, duration: float) -> None:  # noqa: D102
        for observer in self._observers:
            observer.request_finished(exchange, duration)

    def request_refused(self, client: str, status: int, message: str) -> None:  # noqa: D102
        for observer in self._observers:
            observer.request_refused(client, status, message)

    def application_failed(self, exchange: Exchange, error: BaseException) -> None:  # noqa: D102
        for observer in self._observers:
            observer.application_failed(exchange, error)

    def websocket_opened(self, exchange: Exchange) -> None:  # noqa: D102
        for observer in self._observers:
            observer.websocket_opened(exchange)

    def websocket_closed(  # noqa: D102
        self, exchange: Exchange, code: int, reason: str, duration: float
    ) -> None:
        for observer in self._observers:
            observer.websocket_closed(exchange, code, reason, duration)

    def connection_opened(self) -> None:  # noqa: D102
        for observer in self._observers:
            observer.connection_opened()

    def connection_closed(self) -> None:  # noqa: D102
        for observer in self._observers:
            observer.connection_closed()

    def close(self) -> None:  # noqa: D102
        for observer in self._observers:
            observer.close()


class Relay(Observer):
    """Passes each point on to one observer; subclasses step in where they have something to add.

    The points are the other's own methods, so that passing on costs nothing.
    """

    def __init__(self, observer: Observer) -> None:
        for point in _POINTS:
            if getattr(type(self), point) is getattr(Observer, point):
                setattr(self, point, getattr(observer, point))


_POINTS = [name for name in vars(Observer) if not name.startswith("_")]
