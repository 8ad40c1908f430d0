"""What was delivered and what was dropped, for metrics and for the log. Any thread."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Drops", "Reason", "Reporter", "Statistics"]

logger = logging.getLogger("twogate.realtime")

Reason: TypeAlias = Literal["capacity", "expired", "backlog", "gone"]
"""Why a message was dropped.

============  ======================================================================
capacity      its channel had as many messages waiting as it may have
expired       nobody received it in time
backlog       its process does not read, and what may wait for it does
gone          its process ended, or its connection broke
============  ======================================================================
"""

_IN_WORDS: dict[str, str] = {
    "capacity": "for channels at capacity",
    "expired": "expired unread",
    "backlog": "for a process that does not read",
    "gone": "for a process that is gone",
}

#: Seconds from the first drop to the line about it, so that the line knows how many they became.
DELAY = 5.0
#: Seconds from one line to the next, at least.
PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """A layer's figures in this process. Counts are since its start.

    :ivar sent: messages that ``send()`` and ``group_send()`` took.
    :ivar received: messages that ``receive()`` returned.
    :ivar refused: messages that ``send()`` answered with ``ChannelFull``.
    :ivar dropped: messages that nobody was told about, by :data:`Reason`. A group's message counts
        once for each member, or once for each process, that did not get it.
    :ivar queued: messages that wait in channels of this process.
    :ivar groups: groups with members in this process.
    :ivar members: memberships of channels of this process.
    :ivar peers: processes that this one is connected to.
    :ivar backlog: bytes that wait for peers that do not read.
    :ivar broken_links: connections that were closed because garbage came from them.
    """

    sent: int
    received: int
    refused: int
    dropped: dict[str, int]
    queued: int
    groups: int
    members: int
    peers: int
    backlog: int
    broken_links: int


class Drops:
    """Counts what is dropped, and has it logged, once a minute at most.

    :param notify: called with the first drop of a line: have :meth:`report` called some time.
    :param who: has dropped them, for the log.
    :param clock: seconds; for tests.
    :param words: the reasons, and what the log says of each.
    """

    def __init__(
        self,
        notify: Callable[[], None],
        who: str = "Channel layer",
        clock: Callable[[], float] = time.monotonic,
        words: Mapping[str, str] = _IN_WORDS,
    ) -> None:
        self._notify = notify
        self._who = who
        self._clock = clock
        self._words = words
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._pending: Counter[str] = Counter()
        self._example = ""
        self._since = 0.0
        self._last_line = float("-inf")

    def add(self, reason: str, count: int, example: str) -> None:
        """Count drops.

        :param reason: one of the words; here :data:`Reason`.
        :param example: the group or channel of one of them.
        """
        if not count:
            return
        with self._lock:
            first = not self._pending
            self._counts[reason] += count
            self._pending[reason] += count
            if first:
                self._since, self._example = self._clock(), example
        if first:
            self._notify()

    def report(self, at_once: bool = False) -> float | None:
        """Log what was dropped, if a line is due.

        :param at_once: do not wait for more; this is the end.
        :return: in how many seconds the next line is due; ``None`` when nothing is to be said.
        """
        with self._lock:
            if not self._pending:
                return None
            now = self._clock()
            wait = max(self._since + DELAY, self._last_line + PAUSE) - now
            if wait > 0 and not at_once:
                return wait
            pending, self._pending = self._pending, Counter()
            self._last_line = now
            seconds, example = now - self._since, self._example
        logger.warning(
            "%s dropped %d messages in %.0f s, the first for %r: %s.",
            self._who,
            pending.total(),
            seconds,
            example,
            ", ".join(f"{count} {self._words[reason]}" for reason, count in pending.items()),
        )
        return None

    def counts(self) -> dict[str, int]:
        """All drops since the start, by reason."""
        with self._lock:
            return {reason: self._counts[reason] for reason in self._words}


class Reporter:
    """Has drops logged where nothing else runs that could: by a timer, when there are any."""

    def __init__(self, who: str, words: Mapping[str, str]) -> None:
        self.drops = Drops(self._later, who, words=words)
        atexit.register(self.drops.report, at_once=True)

    def _later(self, seconds: float = DELAY) -> None:
        timer = threading.Timer(seconds, self._report)
        timer.daemon = True
        timer.start()

    def _report(self) -> None:
        wait = self.drops.report()
        if wait is not None:
            self._later(wait)
