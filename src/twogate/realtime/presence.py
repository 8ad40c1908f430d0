"""Tells who watches a place who comes and goes there, in any process.

The roster says who is where. Whoever changes it says so under a reserved topic, which every loop
that has watchers hears; what is told is the difference to what was told before, once for all
watchers of a loop. Runs on the loop's thread; knows no sockets and no Django.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import weakref
from collections.abc import Callable, Mapping

from twogate.realtime import wire
from twogate.realtime.feed import Feed, Lagging, Subscription
from twogate.realtime.roster import Roster

__all__ = ["Presence", "presence_of", "topic_of"]

logger = logging.getLogger("twogate.realtime")

#: Seconds between two looks for who has gone without saying so, while anybody watches.
_SWEEP = 0.5
#: Seconds in which changes of one place are gathered.
_GATHER = 0.05

#: Is given texts for a browser.
Watcher = Callable[[str], None]


def topic_of(place: str) -> str:
    """The topic under which a change of a place is told to the other processes."""
    return f"twogate.presence.{place}"


class Presence:
    """The places of one event loop.

    :param changed: tells every loop, this one too, that a place has changed: publishes anything
        under :func:`topic_of`.
    """

    def __init__(self, roster: Roster, feed: Feed, changed: Callable[[str], None]) -> None:
        self._roster = roster
        self._feed = feed
        self._changed = changed
        self._places: dict[str, _Place] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeping = False

    def enter(self, place: str, member: str, data: str) -> str | None:
        """See :meth:`Roster.enter`; ``None`` when the roster cannot be written, which is logged."""
        try:
            ticket = self._roster.enter(place, member, data)
        except sqlite3.Error:
            logger.exception("Who has come to %r could not be written down", place)
            return None
        self._changed(place)
        return ticket

    def leave(self, tickets: Mapping[str, str], *, at_once: bool = False) -> None:
        """See :meth:`Roster.leave`.

        :param tickets: and the place of each.
        """
        try:
            self._roster.leave(tickets, at_once=at_once)
        except sqlite3.Error:
            logger.exception("Who has left could not be written down")
        if at_once:
            self._sweep()

    def watch(self, place: str, watcher: Watcher) -> None:
        """Tell a watcher who is here, and from now on who comes and goes."""
        found = self._places.get(place)
        if found is None:
            found = self._places[place] = _Place(self, place)
        found.watchers[watcher] = None
        watcher(found.here())
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP, self._tick)

    def unwatch(self, place: str, watcher: Watcher) -> None:
        """Tell it nothing more; does nothing when it does not watch."""
        found = self._places.get(place)
        if found is not None:
            found.watchers.pop(watcher, None)
            if not found.watchers:
                found.close()
                del self._places[place]

    def _tick(self) -> None:
        self._sweeping = bool(self._places) and not self._feed.closed
        if self._sweeping:
            self._sweep()
            self._loop.call_later(_SWEEP, self._tick)

    def _sweep(self) -> None:
        try:
            places = self._roster.sweep()
        except sqlite3.Error:
            logger.exception("Who is gone could not be looked up; it is tried again")
            return
        for place in places:
            self._changed(place)


class _Place:
    """A place that somebody on this loop watches."""

    __slots__ = ("_gathering", "_here", "_known", "_name", "_presence", "_subscription", "watchers")

    def __init__(self, presence: Presence, name: str) -> None:
        self._presence = presence
        self._name = name
        self._gathering = False
        self._here: str | None = None
        self.watchers: dict[Watcher, None] = {}
        # First be told of changes, then look: nothing falls in between.
        self._subscription = self._subscribe()
        self._known = self._look({})

    def here(self) -> str:
        """Who is here, as the watchers know."""
        if self._here is None:
            self._here = wire.here(self._name, self._known.values())
        return self._here

    def close(self) -> None:
        self._subscription.close()

    def _subscribe(self) -> Subscription:
        topic = topic_of(self._name)
        return self._presence._feed.subscribe([topic], notify=self._heard)

    def _heard(self, subscription: Subscription) -> None:
        if not self._gathering and self.watchers:
            self._gathering = True
            self._presence._loop.call_later(_GATHER, self._tell)

    def _tell(self) -> None:
        self._gathering = False
        try:
            while self._subscription.take() is not None:
                pass
        except Lagging:  # so many changes are one, too
            self._subscription = self._subscribe()
        before, self._known = self._known, self._look(self._known)
        joined = [data for key, data in self._known.items() if before.get(key) != data]
        left = [data for key, data in before.items() if self._known.get(key) != data]
        if joined or left:
            self._here = None
            text = wire.moved(self._name, joined, left)
            for watcher in tuple(self.watchers):
                watcher(text)

    def _look(self, otherwise: dict[str, str]) -> dict[str, str]:
        try:
            return self._presence._roster.here(self._name)
        except sqlite3.Error:
            logger.exception("Who is at %r could not be looked up", self._name)
            return otherwise


_presences: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Presence] = (
    weakref.WeakKeyDictionary()
)


def presence_of(roster: Roster, feed: Feed, changed: Callable[[str], None]) -> Presence:
    """The running loop's presence, made when it is first asked for."""
    loop = asyncio.get_running_loop()
    presence = _presences.get(loop)
    if presence is None or presence._roster is not roster:
        presence = _presences[loop] = Presence(roster, feed, changed)
    return presence
