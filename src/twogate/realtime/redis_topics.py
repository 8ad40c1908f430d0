"""Topics over Redis for the feeds of one process: a log to read without waiting, and a bell.

A thread hears every message as it is published and keeps the latest in memory, with all that Redis
keeps of those topics that somebody here has asked for. So a feed reads on its loop as it does from
the file of one machine, and a thousand browsers that come back ask Redis once. Knows no Django.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Collection

from twogate.realtime.log import Entry, News, Replay
from twogate.realtime.outage import Away
from twogate.realtime.redis_link import Link
from twogate.realtime.redis_listener import Listener
from twogate.realtime.redis_log import RedisLog, State, Window, decode, replay
from twogate.realtime.redis_outbox import Outbox, Reason
from twogate.realtime.statistics import Reporter

__all__ = ["RedisTopics"]

#: Messages that wait to be read by the feeds of this process.
_MOST_NEWS = 20_000
#: Characters kept in memory, of all topics; those nobody asked for the longest time go first.
_MOST_KEPT = 64 << 20

_WORDS = {
    "unreachable": "because Redis could not be reached",
    "backlog": "because Redis did not take them fast enough",
}


class RedisTopics:
    """What a feed needs: see :class:`~twogate.realtime.feed.Log` and
    :class:`~twogate.realtime.feed.Bell`. Any thread.

    :param keep: messages per topic.
    :param seconds: how long each is kept at most, give or take a minute.
    """

    def __init__(self, link: Link, prefix: str, keep: int = 1000, seconds: float = 600.0) -> None:
        self._log = RedisLog(link, prefix, keep, seconds)
        self.drops = Reporter("Topics", _WORDS).drops
        self._outbox = Outbox(self._append_all, self._lose)
        self._link = link
        self._keep = keep
        self._microseconds = int(seconds * 1_000_000)
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        #: The newest number known, and that of the last message which was heard.
        self._newest = self._heard_to = 0
        #: The newest number when it was first asked for; who listens since then misses what is
        #: above it.
        self._asked_at = 0
        #: The moment from which on everything is to be heard, by the monotonic clock.
        self._listens_since = 0.0
        self._made_up = 0
        self._news: deque[Entry] = deque()
        self._forgotten: dict[str, int] = {}
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self._kept = 0
        self._bells: set[_Bell] = set()

    # Writing

    def append(self, topic: str, data: str) -> int:
        """Publish a message, and return its number. What cannot be is counted in :attr:`drops`.

        On an event loop's thread it is handed over to another one, which keeps the order.

        :return: 0 if it was lost, or handed over.
        """
        if asyncio._get_running_loop() is not None:
            self._outbox.put((topic, data), len(data))
            return 0
        try:
            return self._log.append(topic, data)
        except Away:
            self._lose("unreachable", [(topic, data)])
            return 0

    def _append_all(self, messages: list[tuple[str, str]]) -> None:
        for topic, data in messages:
            try:
                self._log.append(topic, data)
            except Away:
                self._lose("unreachable", [(topic, data)])

    def _lose(self, reason: Reason, messages: list[tuple[str, str]]) -> None:
        self.drops.add(reason, len(messages), messages[0][0])

    def ring(self) -> None:
        """Redis has told everybody already."""

    # Reading

    async def prepare(self, topics: Collection[str]) -> None:
        """Have at hand what is kept of some topics; to be awaited before :meth:`replay`.

        Where Redis cannot be reached they are not, and their replay is incomplete.
        """
        with self._lock:
            missing = [topic for topic in topics if topic not in self._windows]
            for topic in set(topics).difference(missing):
                self._windows.move_to_end(topic)  # those that are loaded now must not oust them
        if missing or not self._newest:
            try:
                await asyncio.to_thread(self._load, missing)
            except Away:
                pass  # it is known and logged

    def newest(self) -> int:
        """The number of the newest message that is known here; 0 as long as none is."""
        with self._lock:  # who subscribes while it is made up for is part of that, or begins after
            return self._newest

    def position(self) -> int:
        """The number of the newest message, as Redis says. On a loop, or where Redis is away, the
        newest that is known here."""
        if asyncio._get_running_loop() is None:
            try:
                return self._log.newest()
            except Away:
                pass  # it is known and logged
        return self.newest()

    def after(self, number: int, most: int = 1000) -> News:
        """What came to all topics after a number, oldest first, ``most`` at a time."""
        with self._lock:
            entries = [entry for entry in self._news if entry.id > number][:most]
            forgotten = {topic: last for topic, last in self._forgotten.items() if last > number}
        return News(entries, forgotten)

    def replay(self, topics: Collection[str], number: int) -> Replay:
        """What came to some topics after a number, as far as it is at hand; 0 asks for all."""
        with self._lock:
            found = [self._windows[topic] for topic in topics if topic in self._windows]
            for topic in topics:
                if topic in self._windows:
                    self._windows.move_to_end(topic)
            answer = replay(found, number, self._newest)
        if len(found) < len(set(topics)):
            return Replay(answer.entries, complete=False, newest=answer.newest)
        return answer

    def listen(self, heard: Callable[[], None], topics: Callable[[], Collection[str]]) -> _Bell:
        """See :meth:`twogate.realtime.feed.Bell.listen`."""
        bell = _Bell(heard, topics, self._bells.discard)
        with self._lock:
            self._bells.add(bell)
            if self._listener is None:
                self._listens_since = time.monotonic()
                self._listener = Listener(self._link, self._log.channel, self._ready, self._hear)
        return bell

    def close(self) -> None:
        """Hear nothing more and forget everything; it may be used again."""
        listener = self._listener
        if listener is not None:
            listener.close()
        self._outbox.close()
        self._begin()

    def statistics(self) -> dict[str, int]:
        """Topics and characters kept in memory, and outages of Redis."""
        with self._lock:
            kept = {"topics_kept": len(self._windows), "characters_kept": self._kept}
        return {**kept, "outages": self._link.outage.count}

    def _load(self, topics: list[str]) -> None:
        while True:
            made_up = self._made_up
            state = self._log.windows(topics)
            with self._lock:
                if made_up != self._made_up:
                    continue  # what was passed over meanwhile may not be in what was read
                self._newest = max(self._newest, state.newest)
                self._asked_at = self._asked_at or state.newest
                for topic, window in state.windows.items():
                    if topic not in self._windows:
                        self._add_heard(topic, window)
                        self._keep_window(topic, window)
                return

    def _add_heard(self, topic: str, window: Window) -> None:
        """What was heard while a window was being read is newer, unless it is in it."""
        last = window.entries[-1].id if window.entries else 0
        window.entries += [
            entry for entry in self._news if entry.topic == topic and entry.id > last
        ]

    # The listener's thread.

    def _ready(self) -> None:
        """Everything from now on is heard. Make up for what was not."""
        topics = self._wanted()
        while True:
            state = self._log.windows(topics)
            with self._lock:
                topics = self._wanted()
                if topics <= state.windows.keys():  # or somebody came while it was read
                    self._make_up(state)
                    break
        self._ring()

    def _wanted(self) -> set[str]:
        with self._lock:
            return set(self._windows).union(*(bell.topics() for bell in self._bells))

    def _make_up(self, state: State) -> None:
        since = self._heard_to or self._begun(state)
        missed: list[Entry] = []
        for topic, window in state.windows.items():
            missed += [entry for entry in window.entries if entry.id > since]
            if not window.is_complete_after(since):
                self._forgotten[topic] = max(window.seed, window.forgotten)
            self._keep_window(topic, window)
        missed.sort(key=lambda entry: entry.id)
        self._add_news(missed)
        self._newest = max(self._newest, state.newest)
        self._heard_to = max(since, state.newest)
        self._made_up += 1

    def _begun(self, state: State) -> int:
        """The number after which all is to be heard, although Redis has only now answered."""
        elapsed = time.monotonic() - self._listens_since
        begun = max(state.now - int(elapsed * 1_000_000), state.seed)
        return min(begun, self._asked_at or begun)

    def _hear(self, news: bytes) -> None:
        entry = decode(news)
        with self._lock:
            if entry.id <= self._heard_to:
                return  # it was made up for
            self._newest = max(self._newest, entry.id)
            self._heard_to = entry.id
            self._add_news([entry])
            window = self._windows.get(entry.topic)
            if window is not None and (not window.entries or window.entries[-1].id < entry.id):
                window.entries.append(entry)
                self._kept += len(entry.data)
                self._trim(window, entry.id - self._microseconds)
                self._make_room()
        self._ring()

    def _ring(self) -> None:
        for bell in tuple(self._bells):
            bell.ring()

    def _add_news(self, entries: list[Entry]) -> None:
        self._news.extend(entries)
        while len(self._news) > _MOST_NEWS:
            lost = self._news.popleft()
            self._forgotten[lost.topic] = lost.id
        if len(self._forgotten) > _MOST_NEWS:  # of long ago; feeds read at once
            for topic in sorted(self._forgotten, key=self._forgotten.__getitem__)[:1000]:
                del self._forgotten[topic]

    # Memory. With the lock held.

    def _keep_window(self, topic: str, window: Window) -> None:
        old = self._windows.pop(topic, None)
        if old is not None:
            self._kept -= _size(old)
        self._windows[topic] = window
        self._kept += _size(window)
        self._make_room()

    def _trim(self, window: Window, oldest: int) -> None:
        entries = window.entries
        excess = max(len(entries) - self._keep, 0)
        while excess < len(entries) and entries[excess].id < oldest:
            excess += 1
        if excess:
            window.forgotten = entries[excess - 1].id
            self._kept -= sum(len(entry.data) for entry in entries[:excess])
            del entries[:excess]

    def _make_room(self) -> None:
        while self._kept > _MOST_KEPT and self._windows:
            _, window = self._windows.popitem(last=False)
            self._kept -= _size(window)


class _Bell:
    """One feed that listens."""

    def __init__(
        self,
        heard: Callable[[], None],
        topics: Callable[[], Collection[str]],
        leave: Callable[[_Bell], None],
    ) -> None:
        self._heard = heard
        self.topics = topics
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._rung = False

    def ring(self) -> None:
        """Any thread."""
        if not self._rung:
            self._rung = True
            try:
                self._loop.call_soon_threadsafe(self._call)
            except RuntimeError:
                self._leave(self)  # the loop is closed

    def _call(self) -> None:
        self._rung = False
        self._heard()

    def close(self) -> None:
        """Listen no longer. May be called again."""
        self._leave(self)
        self._heard = _nothing


def _size(window: Window) -> int:
    return sum(len(entry.data) for entry in window.entries)


def _nothing() -> None:
    pass


_all: weakref.WeakSet[RedisTopics] = weakref.WeakSet()


def _after_fork() -> None:
    for topics in list(_all):
        topics._begin()  # the thread that listens is the parent's


os.register_at_fork(after_in_child=_after_fork)
