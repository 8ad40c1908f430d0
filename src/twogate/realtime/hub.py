"""Who has joined which topic on one event loop, and one frame for all of them. Loop's thread only.

Knows no sockets and no Django: whatever can be offered a frame is a :class:`Sink`. What a topic's
message costs here is one encoding and one call for each sink, past the application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twogate.protocol.websocket import Message, encode_message

__all__ = ["CLOSE", "DROP_OLDEST", "Hub", "HubStatistics", "Sink", "check_topic"]

logger = logging.getLogger("twogate.realtime")

#: What becomes of a socket whose backlog is full: closed with 1013, so that its client knows.
CLOSE = "close"
#: The other choice: it loses the oldest messages that wait for it.
DROP_OLDEST = "drop-oldest"

#: Seconds between two warnings about what was dropped.
_WARN_EVERY = 60.0
_LONGEST_TOPIC = 200


class Sink(Protocol):
    """One that may join topics; an open WebSocket is one. Hashable by identity."""

    def offer(self, frame: bytes) -> bool:
        """Take a whole WebSocket frame, to send it now or as soon as the peer reads.

        Never blocks and never raises. Whatever it decides, it may leave topics meanwhile.

        :return: whether it was taken; a sink that is closed takes nothing.
        """


@dataclass(slots=True, frozen=True)
class HubStatistics:
    """Numbers of one hub; each frame for each sink ends as delivered or dropped.

    :ivar topics: topics that somebody has joined, now.
    :ivar sockets: sinks that have joined any topic, now.
    :ivar waiting: frames that wait for a sink whose peer reads slowly, now.
    :ivar delivered: frames that were written to a socket, so far.
    :ivar dropped: frames that were not, because the peer read too slowly or went away, so far.
    :ivar closed: sockets that were closed because the peer read too slowly, so far.
    :ivar lost: messages that came faster than this loop could pass them on, so far.
    """

    topics: int
    sockets: int
    waiting: int
    delivered: int
    dropped: int
    closed: int
    lost: int


def _nothing() -> None:
    pass


def check_topic(topic: object) -> None:
    """Check the name of a topic.

    :raises TypeError: it is no string; a number would never meet the string that looks like it.
    :raises ValueError: it is empty or has more than 200 characters.
    """
    if not isinstance(topic, str):
        raise TypeError(f"A topic is a string, not {type(topic).__name__}.")
    if not 0 < len(topic) <= _LONGEST_TOPIC:
        raise ValueError(f"A topic has 1 to {_LONGEST_TOPIC} characters.")


class Hub:
    """The topics of one event loop.

    :param backlog: bytes that may wait for one sink; one frame may be larger.
    :param slow_reader: what happens beyond that, :data:`CLOSE` or :data:`DROP_OLDEST`.
    :ivar occupied: called before the first sink joins, and about once a second while there are any.
    """

    __slots__ = (
        "_joined",
        "_told",
        "_topics",
        "_warn_at",
        "backlog",
        "closed",
        "closes",
        "dropped",
        "lost",
        "occupied",
        "taken",
        "waiting",
    )

    def __init__(self, backlog: int = 1048576, slow_reader: str = CLOSE) -> None:
        self._topics: dict[str, set[Sink]] = {}
        self._joined: dict[Sink, set[str]] = {}
        self.backlog = backlog
        self.closes = slow_reader == CLOSE
        # Frames that sinks have taken; each of them is delivered, dropped or waiting.
        self.taken = 0
        self.waiting = 0
        self.dropped = 0
        self.closed = 0
        self.lost = 0
        self.occupied: Callable[[], None] = _nothing
        self._told = (0, 0, 0)
        self._warn_at = 0.0

    def join(self, topic: str, sink: Sink) -> None:
        """Let a sink have what is said to a topic from now on; once, however often it joins."""
        if not self._joined:
            self.occupied()
        sinks = self._topics.get(topic)
        if sinks is None:
            sinks = self._topics[topic] = set()
        sinks.add(sink)
        topics = self._joined.get(sink)
        if topics is None:
            topics = self._joined[sink] = set()
        topics.add(topic)

    def leave(self, topic: str, sink: Sink) -> None:
        """Take a sink off a topic; does nothing when it has not joined it."""
        topics = self._joined.get(sink)
        if topics is None or topic not in topics:
            return
        topics.remove(topic)
        if not topics:
            del self._joined[sink]
        self._remove(topic, sink)

    def drop(self, sink: Sink) -> None:
        """Take a sink off all topics."""
        for topic in self._joined.pop(sink, ()):
            self._remove(topic, sink)

    def _remove(self, topic: str, sink: Sink) -> None:
        sinks = self._topics[topic]
        sinks.remove(sink)
        if not sinks:
            del self._topics[topic]

    def deliver(self, topic: str, message: Message) -> int:
        """Give a message to all who have joined a topic, as one text or binary frame.

        It is not compressed, also where that was negotiated (RFC 7692 §6).

        :return: how many sinks have taken it.
        """
        if topic not in self._topics:
            return 0
        return self.deliver_frame(topic, encode_message(message))

    def deliver_frame(self, topic: str, frame: bytes) -> int:
        """:meth:`deliver` for a message that is a frame already."""
        sinks = self._topics.get(topic)
        if sinks is None:
            return 0
        taken = 0
        # A copy, because a sink that is closed for reading too slowly leaves at once.
        for sink in tuple(sinks):
            if sink.offer(frame):
                taken += 1
        self.taken += taken
        return taken

    def statistics(self) -> HubStatistics:
        """Numbers of this moment."""
        return HubStatistics(
            topics=len(self._topics),
            sockets=len(self._joined),
            waiting=self.waiting,
            delivered=self.taken - self.waiting - self.dropped,
            dropped=self.dropped,
            closed=self.closed,
            lost=self.lost,
        )

    def tick(self, now: float) -> None:
        """Warn of what was dropped, at most once a minute; called about once a second.

        :param now: seconds of any clock that never goes back, always the same.
        """
        if self._joined:
            self.occupied()
        counted = (self.dropped, self.closed, self.lost)
        if counted == self._told or now < self._warn_at:
            return
        since = [new - old for new, old in zip(counted, self._told, strict=True)]
        self._told = counted
        self._warn_at = now + _WARN_EVERY
        logger.warning(
            "Broadcasts: %d messages were dropped and %d WebSockets closed because their clients"
            " read too slowly or went away (--websocket-broadcast-buffer,"
            " --websocket-slow-reader); %d messages came too fast to be passed on",
            *since,
        )
