"""How many messages never came: senders number what they send, receivers look for holes.

What a broker took and lost, nobody is told of, neither who sent it nor who waits for it. So each
process that sends numbers its messages to each target; a receiver that has 7 and 9 and waited for 8
long enough knows that one is missing. What was lost before its first message of a stream, or after
its last one, it cannot know. Any thread; knows no messages.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Gaps", "Mark", "Sequence"]

#: Seconds that a message may come later than the one after it: senders have several connections.
GRACE = 5.0
#: Streams remembered, by a sender and by a receiver; those not used for the longest time go first.
_MOST_STREAMS = 10_000
#: Numbers of one stream that are waited for; a larger hole counts at once.
_WIDEST = 10_000

Mark: TypeAlias = tuple[str, str, int]
"""Target, the name of the stream, the number in it."""


class Sequence:
    """The numbers of what this process sends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def next(self, target: str) -> Mark:
        """The mark of the next message to a target."""
        with self._lock:
            stream, number = self._streams.pop(target, (None, 0))
            if stream is None:
                stream = secrets.token_hex(6)
            self._streams[target] = (stream, number + 1)
            if len(self._streams) > _MOST_STREAMS:
                self._streams.popitem(last=False)
        return target, stream, number + 1


class _Stream:
    __slots__ = ("first", "last", "missing")

    def __init__(self, number: int) -> None:
        self.first = self.last = number
        self.missing: set[int] = set()


class Gaps:
    """What this process receives, and what of it is missing.

    :param missing: called with a count and a target when messages are given up.
    :param clock: seconds; for tests.
    """

    def __init__(
        self, missing: Callable[[int, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._missing = missing
        self._clock = clock
        self._lock = threading.Lock()
        self._targets: OrderedDict[tuple[str, str], _Stream] = OrderedDict()
        self._awaited: deque[tuple[float, str, str, range]] = deque()

    def note(self, mark: Mark) -> bool:
        """A message came.

        :return: false when it had come before.
        """
        target, name, number = mark
        key = (target, name)
        wide = 0
        with self._lock:
            stream = self._targets.get(key)
            if stream is None:
                self._targets[key] = _Stream(number)
                if len(self._targets) > _MOST_STREAMS:
                    self._targets.popitem(last=False)
                return True
            self._targets.move_to_end(key)
            if number <= stream.last:
                if number in stream.missing:
                    stream.missing.remove(number)
                    return True
                return number < stream.first
            hole = range(stream.last + 1, number)
            stream.last = number
            if len(hole) > _WIDEST:
                wide = len(hole)
            elif hole:
                stream.missing.update(hole)
                self._awaited.append((self._clock() + GRACE, target, name, hole))
        if wide:
            self._missing(wide, target)
        return True

    def settle(self, at_once: bool = False) -> None:
        """Give up what was waited for long enough; called about once a second.

        :param at_once: wait no longer; this is the end.
        """
        now = self._clock()
        lost: list[tuple[int, str]] = []
        with self._lock:
            while self._awaited and (at_once or self._awaited[0][0] <= now):
                _, target, name, hole = self._awaited.popleft()
                stream = self._targets.get((target, name))
                if stream is not None:
                    given_up = stream.missing.intersection(hole)
                    stream.missing -= given_up
                    lost.append((len(given_up), target))
        for count, target in lost:
            if count:
                self._missing(count, target)

    def forget(self, target: str) -> None:
        """Nobody here receives from a target any more: what comes later begins anew."""
        with self._lock:
            for key in [key for key in self._targets if key[0] == target]:
                del self._targets[key]
