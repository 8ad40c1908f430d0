"""Sends to Redis what may not wait for it: a bounded queue, and a thread that empties it.

The thread starts with the first message. Whoever puts something never waits; what cannot be sent is
handed back, to be counted.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from twogate.realtime.outage import Away
from twogate.realtime.redis_link import TIMEOUT

__all__ = ["Outbox", "Reason"]

_T = TypeVar("_T")

Reason: TypeAlias = Literal["backlog", "unreachable"]

#: Bytes that may wait, with about what Python adds to each message; one message may be larger.
_MOST_WAITING = 4 << 20
_OVERHEAD = 200
#: Messages sent at a time.
_BATCH = 500


class Outbox(Generic[_T]):
    """What waits to be sent.

    :param send: sends messages in order, on the thread.
    :param lost: is told how many were not, and why; on any thread.
    """

    def __init__(
        self,
        send: Callable[[list[_T]], None],
        lost: Callable[[Reason, list[_T]], None],
    ) -> None:
        self._send = send
        self._lost = lost
        self._begin()
        _outboxes.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[_T, int]] = deque()
        self._size = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, message: _T, size: int) -> None:
        """Have a message sent. What comes while Redis is away is lost soon, not kept: it would
        be of no use when it is back."""
        reason = self._put(message, size + _OVERHEAD)
        if reason is not None:
            self._lost(reason, [message])

    def _put(self, message: _T, size: int) -> Reason | None:
        with self._changed:
            if self._size + size > _MOST_WAITING and self._waiting:
                return "backlog"
            self._waiting.append((message, size))
            self._size += size
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="twogate-redis-out", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        return None

    def _run(self) -> None:
        while messages := self._take():
            try:
                self._send(messages)
            except Away:
                self._lost("unreachable", messages)

    def _take(self) -> list[_T]:
        """The next messages; none at the end."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            count = min(len(self._waiting), _BATCH)
            taken = [self._waiting.popleft() for _ in range(count)]
            self._size -= sum(size for _, size in taken)
        return [message for message, _ in taken]

    def close(self) -> None:
        """Send what waits, for some seconds at most. Nothing may be put any more."""
        with self._changed:
            self._closing = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(2 * TIMEOUT)


_outboxes: weakref.WeakSet[Outbox[Any]] = weakref.WeakSet()


def _at_exit() -> None:
    for outbox in list(_outboxes):
        outbox.close()


def _after_fork() -> None:
    for outbox in list(_outboxes):
        outbox._begin()  # what waits, the parent sends


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
