"""Tells who watches a place who comes and goes there, in any process.

The roster says who is where. Whoever changes it says so under a reserved topic, which every loop
that has watchers hears; what is told is the difference to what was told before, once for all
watchers of a loop. Runs on the loop's thread; knows no sockets and no Django.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Mapping

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
        #: Who has left and is still on the roster, which could not be written then.
        self._owed: dict[str, str] = {}

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
            self._owed.update(tickets)
            logger.exception("Who has left could not be written down; it is tried again")
        if at_once:
            self._sweep()

    def watch(self, place: str, watcher: Watcher) -> None:
        """Tell a watcher who is here, soon, and from then on who comes and goes."""
        found = self._places.get(place)
        if found is None:
            found = self._places[place] = _Place(self, place)
        found.greet(watcher)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP, self._tick)

    def unwatch(self, place: str, watcher: Watcher) -> None:
        """Tell it nothing more; does nothing when it does not watch."""
        found = self._places.get(place)
        if found is not None and found.dismiss(watcher):
            found.close()
            del self._places[place]

    def _tick(self) -> None:
        self._sweeping = bool(self._places) and not self._feed.closed
        if self._sweeping:
            self._sweep()
            self._loop.call_later(_SWEEP, self._tick)

    def _sweep(self) -> None:
        if self._owed:
            with contextlib.suppress(sqlite3.Error):  # which was logged before
                self._roster.leave(self._owed)
                self._owed.clear()
        try:
            places = self._roster.sweep()
        except sqlite3.Error:
            logger.exception("Who is gone could not be looked up; it is tried again")
            return
        for place in places:
            self._changed(place)


class _Place:
    """A place that somebody on this loop watches."""

    __slots__ = (
        "_gathering",
        "_known",
        "_name",
        "_new",
        "_presence",
        "_subscription",
        "_watchers",
    )

    def __init__(self, presence: Presence, name: str) -> None:
        self._presence = presence
        self._name = name
        self._gathering = False
        #: Those who know who was here at the last look, and those who are to be told at the next.
        self._watchers: dict[Watcher, None] = {}
        self._new: dict[Watcher, None] = {}
        # First be told of changes, then look: nothing falls in between.
        self._subscription = self._subscribe()
        self._known = self._look({})

    def greet(self, watcher: Watcher) -> None:
        """Take a watcher in; the first is told at once, since somebody has just looked."""
        if self._watchers or self._new:
            self._new[watcher] = None
            self._gather()
        else:
            self._watchers[watcher] = None
            watcher(wire.here(self._name, self._known.values()))

    def dismiss(self, watcher: Watcher) -> bool:
        """Let a watcher go, if it is one; says whether it was the last."""
        self._watchers.pop(watcher, None)
        self._new.pop(watcher, None)
        return not (self._watchers or self._new)

    def close(self) -> None:
        self._subscription.close()

    def _subscribe(self) -> Subscription:
        topic = topic_of(self._name)
        return self._presence._feed.subscribe([topic], notify=self._heard)

    def _heard(self, subscription: Subscription) -> None:
        self._gather()

    def _gather(self) -> None:
        if not self._gathering:
            self._gathering = True
            self._presence._loop.call_later(_GATHER, self._tell)

    def _tell(self) -> None:
        self._gathering = False
        if not (self._watchers or self._new):
            return  # closed meanwhile
        try:
            while self._subscription.take() is not None:
                pass
        except Lagging:  # so many changes are one, too
            self._subscription = self._subscribe()
        before, self._known = self._known, self._look(self._known)
        joined = [data for key, data in self._known.items() if before.get(key) != data]
        left = [data for key, data in before.items() if self._known.get(key) != data]
        if self._watchers and (joined or left):
            self._say(wire.moved(self._name, joined, left), self._watchers)
        if self._new:
            new, self._new = self._new, {}
            self._watchers.update(new)
            self._say(wire.here(self._name, self._known.values()), new)

    def _say(self, text: str, watchers: Iterable[Watcher]) -> None:
        for watcher in tuple(watchers):
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
