"""What is published, as it comes, for whoever subscribes on one event loop.

The bell says that there is something new, the log says what. Each message is read once per loop and
handed to all its subscribers. Runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import weakref
from collections import deque
from collections.abc import Collection
from pathlib import Path

from twogate.realtime.bell import Listener
from twogate.realtime.log import Entry, Replay, TopicLog

__all__ = ["Feed", "Lagging", "Subscription", "feed_of"]

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


class Feed:
    """The subscribers of one event loop.

    :param log: where messages are.
    :param folder: where the bell is rung.
    """

    def __init__(self, log: TopicLog, folder: Path) -> None:
        self._log = log
        self._topics: dict[str, set[Subscription]] = {}
        self._last = log.newest()
        self._listener = Listener(folder, self._heard)
        self._loop = asyncio.get_running_loop()
        self._closed = False
        #: Messages handed to subscribers, and subscribers that fell too far behind.
        self.delivered = 0
        self.lagged = 0

    def subscribe(
        self, topics: Collection[str], after: int | None = None, limit: int = 1000
    ) -> Subscription:
        """Begin to collect what is published to some topics.

        :param after: begin with what came after the message of this number, as far as it is kept;
            by default with what comes from now on.
        :param limit: messages that may wait for the subscriber, replayed ones not counted.
        """
        subscription = Subscription(self, frozenset(topics), limit)
        # First be told of what comes, then look at what has come: nothing falls in between.
        for topic in subscription.topics:
            self._topics.setdefault(topic, set()).add(subscription)
        if after is None:
            newest = self._log.newest()
            subscription._begin(newest, Replay([], complete=True, newest=newest))
        else:
            subscription._begin(after, self._log.replay(subscription.topics, after))
        return subscription

    def _leave(self, subscription: Subscription) -> None:
        for topic in subscription.topics:
            members = self._topics.get(topic)
            if members is not None:
                members.discard(subscription)
                if not members:
                    del self._topics[topic]

    def _heard(self) -> None:
        if self._closed:
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
        self._closed = True
        self._listener.close()
        for subscription in set().union(*self._topics.values()):
            subscription.close()


class Subscription:
    """What one subscriber has not read yet: an asynchronous iterator of :class:`Entry`.

    :ivar topics: what it subscribed to.
    :ivar complete: false when something between ``after`` and now was removed already.
    """

    def __init__(self, feed: Feed, topics: frozenset[str], limit: int) -> None:
        self._feed = feed
        self._limit = limit
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
        self._feed._leave(self)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Entry:
        """The next message.

        :raises Lagging: too many were waiting; those before have been returned.
        """
        while (entry := self._next()) is None:
            if self._lags:
                raise Lagging(self._last)
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._last = entry.id
        self._feed.delivered += 1
        return entry

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
        self._feed._leave(self)
        self._wake()


_feeds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Feed] = weakref.WeakKeyDictionary()


def feed_of(log: TopicLog, folder: Path) -> Feed:
    """The running loop's feed, made when it is first asked for."""
    loop = asyncio.get_running_loop()
    feed = _feeds.get(loop)
    if feed is None:
        feed = _feeds[loop] = Feed(log, folder)
    return feed
