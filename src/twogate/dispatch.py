"""Which gateway serves a request, and why.

The chooser is handed in (the Django side knows views, this room does not). Both gateways give the
right answer for every view, so a wrong guess costs time and never correctness.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from twogate.errors import PeerError
from twogate.exchange import Exchange
from twogate.protocol.events import RequestHead

if TYPE_CHECKING:
    from twogate.sessions import SessionStore
    from twogate.trace.tracer import Tracer

__all__ = ["Applications", "Choice", "Chooser", "Dispatcher"]

logger = logging.getLogger("twogate.dispatch")


@dataclass(slots=True, frozen=True)
class Choice:
    """A gateway and the reason for it.

    :ivar gateway: ``"wsgi"`` or ``"asgi"``.
    :ivar reason: a few words, for example ``"async view polls.views.live"``.
    """

    gateway: str
    reason: str


_UNDECIDED = Choice("wsgi", "the chooser failed")
# Django's WSGI side reads no further than Content-Length; its ASGI side reads to the end.
_UNKNOWN_LENGTH = Choice("asgi", "request body of unknown length")

Chooser: TypeAlias = Callable[[RequestHead], Choice]


@dataclass(slots=True)
class Applications:
    """What a worker serves: the loaded entry points and how to choose between them.

    :ivar wsgi: a PEP 3333 application, or ``None``.
    :ivar asgi: an ASGI 3 application, or ``None``.
    :ivar chooser: picks the gateway of an HTTP request when both are there; ``None`` sends all of
        them to WSGI.
    :ivar use_threads: is given the worker's threads before anything is served, or ``None``.
    :ivar allows_host: says of an origin's host whether it is the project's own; ``None`` where
        nobody knows.
    :ivar websocket_origins: the project's own word in place of the option's default.
    :ivar sessions: what opens WebSockets and may end before them, or ``None``.
    :ivar debug: show the choice in a ``Server-Timing`` header.
    :ivar tracer: records each request, or ``None``.
    :ivar notes: lines for the start-up message: the gateways found, URL patterns per gateway, what
        looks wrong (those start with ``"warning: "``).
    """

    wsgi: Callable[..., Any] | None = None
    asgi: Callable[..., Any] | None = None
    chooser: Chooser | None = None
    use_threads: Callable[[Any], None] | None = None
    allows_host: Callable[[str], bool] | None = None
    websocket_origins: list[str] | None = None
    sessions: SessionStore | None = None
    debug: bool = False
    tracer: Tracer | None = None
    notes: list[str] = field(default_factory=list)


class Dispatcher:
    """Takes each exchange to its gateway and keeps the reason on it.

    :param wsgi: takes an exchange to the WSGI gateway, or ``None`` when there is none.
    :param asgi: likewise for HTTP through the ASGI gateway.
    :param websocket: likewise for WebSocket through the ASGI gateway.
    :param chooser: decides between the first two when both are there.
    :param forced: ``"auto"``, or the gateway that takes all requests.
    """

    def __init__(
        self,
        *,
        wsgi: Gateway | None,
        asgi: Gateway | None,
        websocket: Gateway | None,
        chooser: Chooser | None,
        forced: str = "auto",
    ) -> None:
        self._gateways = {"wsgi": wsgi, "asgi": asgi}
        self._websocket = websocket if forced != "wsgi" else None
        self._fixed = _fixed(chooser, wsgi, asgi, forced)
        self._chooser = chooser

    def __call__(self, exchange: Exchange) -> None:
        """Send an exchange on its way, or answer it here when no gateway can."""
        head = exchange.head
        if head.is_websocket:
            self._take_websocket(exchange)
            return
        if head.raw_path == b"*":
            _answer_asterisk(exchange)
            return
        choice = self._fixed or self._choose(head)
        exchange.gateway, exchange.reason = choice.gateway, choice.reason
        gateway = self._gateways[choice.gateway]
        assert gateway is not None
        gateway(exchange)

    def _choose(self, head: RequestHead) -> Choice:
        if head.content_length is None:
            return _UNKNOWN_LENGTH
        assert self._chooser is not None
        try:
            return self._chooser(head)
        except Exception:
            # It may have a fault, or run into one of the project's.
            logger.exception("The gateway of %s %r could not be chosen", head.method, head.raw_path)
            return _UNDECIDED

    def _take_websocket(self, exchange: Exchange) -> None:
        if self._websocket is not None:
            exchange.gateway, exchange.reason = "asgi", "WebSocket"
            self._websocket(exchange)
            return
        exchange.gateway, exchange.reason = "server", "WebSocket without the ASGI gateway"
        exchange.refuse(_NO_WEBSOCKET)


Gateway: TypeAlias = Callable[[Exchange], None]

# RFC 6455 §4.2.2 lets a server refuse with any HTTP status; 501 says that it is the server that
# cannot, not the client that may not.
_NO_WEBSOCKET = PeerError(
    HTTPStatus.NOT_IMPLEMENTED,
    "A WebSocket needs the ASGI gateway and this server runs only WSGI, which carries one request"
    " and one response: give the project an asgi.py, or serve it without --gateway wsgi.",
)


def _answer_asterisk(exchange: Exchange) -> None:
    """``OPTIONS *`` asks about the server, not about a page (RFC 9110 §9.3.7)."""
    exchange.gateway, exchange.reason = "server", "OPTIONS *"
    exchange.respond(
        HTTPStatus.NO_CONTENT, [(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")], b""
    )


def _fixed(
    chooser: Chooser | None, wsgi: Gateway | None, asgi: Gateway | None, forced: str
) -> Choice | None:
    """The choice that is the same for every request, where there is nothing to choose."""
    if forced != "auto":
        return Choice(forced, f"--gateway {forced}")
    if wsgi is None:
        return Choice("asgi", "the only gateway")
    if asgi is None:
        return Choice("wsgi", "the only gateway")
    if chooser is None:
        return Choice("wsgi", "the default for HTTP")
    return None
