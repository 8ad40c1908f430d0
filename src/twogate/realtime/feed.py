"""What is published, as it comes, for whoever subscribes on one event loop.

The bell says that there is something new, the log says what; both are of one machine, or of Redis.
Each message is read once per loop and handed to all its subscribers. Runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import weakref
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from twogate.realtime.log import Entry, News, Replay

__all__ = ["Bell", "Feed", "Lagging", "Log", "Subscription", "feed_of"]

logger = logging.getLogger("twogate.realtime")

#: Messages read from the log at a time; between two such reads the loop serves others.
_BATCH = 500


class Lagging(Exception):
    """A subscriber is too far behind for its messages to be kept for it.

    :ivar after: the number of the last message it got; it may subscribe again from there.
    """

    def __init__(self, after: int) -> None:
        super().__init__(f"The subscriber did not keep up after message {after}.")
        self.after = after


class Log(Protocol):
    """Where messages are; :class:`~twogate.realtime.log.TopicLog` says what its methods mean.

    Nothing but :meth:`append`, which waits for its medium, waits longer than for a file.
    """

    def append(self, topic: str, data: str) -> int:
        """Add a message and return its number. Any thread but a loop's."""

    async def prepare(self, topics: Collection[str]) -> None:
        """Have at hand what :meth:`replay` is asked for next."""

    def newest(self) -> int:
        """The number of the newest message."""

    def position(self) -> int:
        """The same, of this moment wherever the log is; off a loop it may wait for the network."""

    def after(self, number: int, most: int = 1000) -> News:
        """What came to all topics after a number."""

    def replay(self, topics: Collection[str], number: int) -> Replay:
        """What came to some topics after a number."""

    def close(self) -> None:
        """Close what is open; it is opened again when it is needed."""


class _Listener(Protocol):
    def close(self) -> None: ...


class Bell(Protocol):
    """Says that there is something new in the log."""

    def ring(self) -> None:
        """Something has been appended. Any thread."""

    def listen(self, heard: Callable[[], None], topics: Callable[[], Collection[str]]) -> _Listener:
        """Call ``heard`` on the running loop whenever there is something new, until it is closed.

        :param topics: those that are of interest now; called on any thread.
        """


class Feed:
    """The subscribers of one event loop.

    :param log: where messages are.
    :param bell: of the log.
    """

    def __init__(self, log: Log, bell: Bell) -> None:
        self._log = log
        self._topics: dict[str, set[Subscription]] = {}
        self._last = log.newest()
        self._listener = bell.listen(self._heard, lambda: tuple(self._topics))
        self._loop = asyncio.get_running_loop()
        #: Whether it hears nothing more, because its server drains.
        self.closed = False
        #: Messages handed to subscribers, and subscribers that fell too far behind.
        self.delivered = 0
        self.lagged = 0

    async def prepare(self, topics: Collection[str]) -> None:
        """To be awaited before :meth:`subscribe` with ``after``: a log that is elsewhere is read.

        Without it a log that is elsewhere may say that the replay is incomplete.
        """
        await self._log.prepare(topics)

    def subscribe(
        self,
        topics: Collection[str],
        after: int | None = None,
        limit: int = 1000,
        notify: Callable[[Subscription], None] | None = None,
    ) -> Subscription:
        """Begin to collect what is published to some topics.

        :param after: begin with what came after the message of this number, as far as it is kept;
            by default with what comes from now on.
        :param limit: messages that may wait for the subscriber, replayed ones not counted.
        :param notify: called once for each message that waits, when it lags, and at the end; for
            who uses :meth:`Subscription.take` instead of waiting.
        """
        subscription = Subscription(self, frozenset(topics), limit, notify)
        # First be told of what comes, then look at what has come: nothing falls in between.
        for topic in subscription.topics:
            self._topics.setdefault(topic, set()).add(subscription)
        if after is None:
            newest = self._log.newest()
            subscription._begin(newest, Replay([], complete=True, newest=newest))
        else:
            subscription._begin(after, self._log.replay(subscription.topics, after))
        if self.closed:
            subscription.close()
        return subscription

    def _leave(self, subscription: Subscription, topics: Collection[str]) -> None:
        for topic in topics:
            members = self._topics.get(topic)
            if members is not None:
                members.discard(subscription)
                if not members:
                    del self._topics[topic]

    def _heard(self) -> None:
        if self.closed:
            return  # what was still to be read when it was closed
        try:
            news = self._log.after(self._last, _BATCH)
        except sqlite3.Error:
            logger.exception("What was published could not be read; it is tried again when told")
            return
        for topic, number in news.forgotten.items():  # before this loop came to read it
            for subscription in tuple(self._topics.get(topic, ())):
                subscription._miss(number)
        for entry in news.entries:
            for subscription in tuple(self._topics.get(entry.topic, ())):
                subscription._put(entry)
        if len(news.entries) == _BATCH:
            self._last = news.entries[-1].id
            self._loop.call_soon(self._heard)
        else:
            # What was forgotten counts as heard, or each ring would tell of it again.
            numbers = (*news.forgotten.values(), *(entry.id for entry in news.entries[-1:]))
            self._last = max(numbers, default=self._last)

    def statistics(self) -> dict[str, int]:
        """Topics with subscribers, subscribers, messages delivered, subscribers that lagged."""
        return {
            "topics": len(self._topics),
            "subscribers": len(set().union(*self._topics.values())),
            "delivered": self.delivered,
            "lagged": self.lagged,
        }

    def close(self) -> None:
        """Hear nothing more; subscribers end."""
        self.closed = True
        self._listener.close()
        for subscription in set().union(*self._topics.values()):
            subscription.close()


class Subscription:
    """What one subscriber has not read yet: an asynchronous iterator of :class:`Entry`.

    :ivar topics: what it subscribed to.
    :ivar complete: false when something between ``after`` and now was removed already.
    """

    def __init__(
        self,
        feed: Feed,
        topics: frozenset[str],
        limit: int,
        notify: Callable[[Subscription], None] | None = None,
    ) -> None:
        self._feed = feed
        self._limit = limit
        self._notify = notify
        self._waiting: deque[Entry] = deque()
        self._replayed: deque[Entry] = deque()
        self._last = 0
        self._known = 0
        self._lags = self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self.topics = topics
        self.complete = True

    def _begin(self, after: int, replay: Replay) -> None:
        # A number that is none of this log's must not hide what comes.
        self._last = min(after, replay.newest)
        self._known = replay.newest
        self._replayed.extend(replay.entries)
        self.complete = replay.complete

    def _miss(self, number: int) -> None:
        """A message was removed before the loop read it; the replay may have had it."""
        if number > self._known:
            self._lag()

    def _put(self, entry: Entry) -> None:
        if self._lags:
            return
        if len(self._waiting) >= self._limit:
            self._lag()
        else:
            self._waiting.append(entry)
            self._wake()

    def _lag(self) -> None:
        self._lags = True
        self._waiting.clear()
        self._feed.lagged += 1
        self._feed._leave(self, self.topics)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._notify is not None:
            self._notify(self)

    @property
    def position(self) -> int:
        """The number of the last message that was returned, or of where it begins."""
        return self._last

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Entry:
        """The next message.

        :raises Lagging: too many were waiting; those before have been returned.
        """
        while (entry := self.take()) is None:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return entry

    def take(self) -> Entry | None:
        """The next message, if one waits.

        :raises Lagging: too many were waiting; those before have been returned.
        """
        entry = self._next()
        if entry is not None:
            self._last = entry.id
            self._feed.delivered += 1
        elif self._lags:
            raise Lagging(self._last)
        return entry

    def take_replay(self) -> list[Entry]:
        """All that is replayed and was not returned yet."""
        entries = list(self._replayed)
        self._replayed.clear()
        if entries:
            self._last = entries[-1].id
            self._feed.delivered += len(entries)
        return entries

    def _next(self) -> Entry | None:
        """The next one that was not returned yet: what was replayed is also told by the bell."""
        if self._replayed:
            return self._replayed.popleft()
        while self._waiting:
            entry = self._waiting.popleft()
            if entry.id > self._last:
                return entry
        return None

    def close(self) -> None:
        """Subscribe no longer; an iteration that waits ends. May be called again."""
        self._closed = True
        self._feed._leave(self, self.topics)
        self._wake()

    def leave(self, topic: str) -> None:
        """Subscribe to all but this topic; nothing of it that waits is returned."""
        self._feed._leave(self, [topic])
        self.topics -= {topic}
        for waiting in self._replayed, self._waiting:
            kept = [entry for entry in waiting if entry.topic != topic]
            waiting.clear()
            waiting.extend(kept)


_feeds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Feed] = weakref.WeakKeyDictionary()


def feed_of(log: Log, bell: Bell) -> Feed:
    """The running loop's feed, made when it is first asked for."""
    loop = asyncio.get_running_loop()
    feed = _feeds.get(loop)
    if feed is None:
        feed = _feeds[loop] = Feed(log, bell)
    return feed
