"""Which gateway serves a request, and why.

The chooser is handed in (the Django side knows views, this room does not). Both gateways give the
right answer for every view, so a wrong guess costs time and never correctness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from twogate.protocol.events import RequestHead

__all__ = ["Applications", "Choice", "Chooser"]


@dataclass(slots=True, frozen=True)
class Choice:
    """A gateway and the reason for it.

    :ivar gateway: ``"wsgi"`` or ``"asgi"``.
    :ivar reason: a few words, for example ``"async view polls.views.live"``.
    """

    gateway: str
    reason: str


Chooser: TypeAlias = Callable[[RequestHead], Choice]


@dataclass(slots=True)
class Applications:
    """What a worker serves: the loaded entry points and how to choose between them.

    :ivar wsgi: a PEP 3333 application, or ``None``.
    :ivar asgi: an ASGI 3 application, or ``None``.
    :ivar chooser: picks the gateway of an HTTP request when both are there; ``None`` sends all of
        them to WSGI.
    :ivar debug: show the choice in a ``Server-Timing`` header.
    :ivar notes: lines for the start-up message: the gateways found, URL patterns per gateway, what
        looks wrong (those start with ``"warning: "``).
    """

    wsgi: Callable[..., Any] | None = None
    asgi: Callable[..., Any] | None = None
    chooser: Chooser | None = None
    debug: bool = False
    notes: list[str] = field(default_factory=list)
