"""``request_started`` and ``request_finished`` without the cost of asking everybody each time.

Django connects four receivers of its own to these signals. For most requests they find nothing to
do, and finding that out takes a fifth of a small page's time. As long as nobody else is connected,
what stands for them here looks first. Receivers that are declared never to block are called as
they are, on the loop too. As soon as anybody else is connected, the signal is sent as ever.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, TypeAlias, cast

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core import signals
from django.core.cache import caches, close_caches
from django.core.cache.backends.base import BaseCache
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, connections, reset_queries
from django.dispatch import Signal
from django.dispatch.dispatcher import NONE_ID
from django.urls import get_urlconf, set_urlconf

from twogate.django.rules import is_declared_nonblocking

__all__ = [
    "RequestSignal",
    "close_old_connections_here",
    "finished",
    "open_connections",
    "reset_queries_here",
    "started",
    "use_urlconf",
]


def open_connections() -> Iterable[Any]:
    """The database connections that this thread, or this task, has asked for."""
    if asyncio._get_running_loop() is None:
        try:
            # What connections.all(initialized_only=True) would find, without asking for each alias.
            mine = vars(connections._connections._storage)
        except (AttributeError, TypeError):  # another asgiref
            pass
        else:
            return [found for name, found in mine.items() if name != "cvar"]
    return connections.all(initialized_only=True)  # type: ignore[no-any-return]


def reset_queries_here() -> None:
    """What :func:`django.db.reset_queries` does, for the connections of this thread."""
    for connection in open_connections():
        connection.queries_log.clear()


def close_old_connections_here() -> None:
    """What :func:`django.db.close_old_connections` does, for the connections of this thread."""
    for connection in open_connections():
        connection.close_if_unusable_or_obsolete()


def _caches_are_unused() -> bool:
    try:
        return caches._connections._storage._data.get(None) is None
    except AttributeError:  # another asgiref
        return False


def _close_caches() -> None:
    if not _caches_are_unused():
        caches.close_all()


def use_urlconf() -> None:
    """Set the thread's URLconf to the project's, which it nearly always is already."""
    if get_urlconf() != settings.ROOT_URLCONF:
        set_urlconf(settings.ROOT_URLCONF)


def _reset_urlconf() -> None:
    # The project's own URLconf may stay: it is what the next request begins with, and what None
    # stands for.
    if get_urlconf() not in (None, settings.ROOT_URLCONF):
        set_urlconf(None)


_STAND_INS: dict[Any, Callable[[], None]] = {
    reset_queries: reset_queries_here,
    close_old_connections: close_old_connections_here,
    close_caches: _close_caches,
    reset_urlconf: _reset_urlconf,
}

#: What is called in a receiver's stead, or ``None``; and what gives the receiver, if it still is.
Receiver: TypeAlias = tuple[Callable[[], None] | None, Callable[[], Any]]


class RequestSignal:
    """One of the two signals.

    :param signal: Django's.
    """

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._seen: list[Any] | None = None
        self._plan: list[Receiver] | None = None

    def send(self, sender: Any, **named: Any) -> None:
        """Send on this thread, as :meth:`django.dispatch.Signal.send` does."""
        plan = self.plan
        if plan is None:
            self._signal.send(sender=sender, **named)
            return
        for stand_in, receiver in plan:
            if stand_in is not None:
                stand_in()
            else:
                self._tell(receiver, sender, named)

    async def asend(self, sender: Any, **named: Any) -> None:
        """Send from the loop: on it, unless a receiver may block.

        Django's own have nothing to do there. Database connections are those of leases, which look
        after them, and the URLconf is that of the request's context.
        """
        if self.may_block:
            await self._signal.asend(sender=sender, **named)
        else:
            self.send_on_loop(sender, **named)

    def send_on_loop(self, sender: Any, **named: Any) -> None:
        """Send where :attr:`may_block` is false."""
        for stand_in, receiver in self.plan or ():
            if stand_in is None:
                self._tell(receiver, sender, named)

    def _tell(self, receiver: Callable[[], Any], sender: Any, named: dict[str, Any]) -> None:
        found = receiver()
        if found is not None:
            found(signal=self._signal, sender=sender, **named)

    @property
    def may_block(self) -> bool:
        """Whether somebody unknown is to be told, or a cache has something to close."""
        plan = self.plan
        if plan is None:
            return True
        if _caches_are_unused() or all(stand_in is not _close_caches for stand_in, _ in plan):
            return False
        opened = caches.all(initialized_only=True)
        return any(type(cache).close is not BaseCache.close for cache in opened)

    @property
    def plan(self) -> list[Receiver] | None:
        """What to call in the receivers' stead, in order; ``None`` when one is neither Django's
        nor declared never to block."""
        if self._signal.receivers != self._seen:
            self._seen = list(self._signal.receivers)
            plan = [_planned(entry) for entry in self._seen]
            self._plan = None if None in plan else cast(list[Receiver], plan)
        return self._plan


def _planned(entry: Any) -> Receiver | None:
    """How an entry of ``Signal.receivers`` is told: its stand-in, or itself if it is declared."""
    (_, sender), reference = entry[:2]
    weak = isinstance(reference, weakref.ReferenceType)
    receiver = reference() if weak else reference
    if sender != NONE_ID or iscoroutinefunction(receiver):
        return None  # only some requests are its business, or it is awaited
    stand_in = _STAND_INS.get(receiver)
    if stand_in is None and not (
        isinstance(receiver, FunctionType) and is_declared_nonblocking(receiver)
    ):
        return None
    return stand_in, reference if weak else lambda: receiver


started = RequestSignal(signals.request_started)
finished = RequestSignal(signals.request_finished)
