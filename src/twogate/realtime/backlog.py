"""Frames that wait for one peer that reads slowly: bounded, and counted by the hub.

Most sockets never need one. Loop's thread only; knows no sockets.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twogate.realtime.hub import Hub

__all__ = ["Backlog"]


class Backlog:
    """What waits for one sink, oldest first.

    :param hub: says how much may wait and what happens beyond; its counters are kept right.
    """

    __slots__ = ("_frames", "_hub", "_size")

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._frames: deque[bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: bytes) -> bool:
        """Let a frame wait. When that is too much, the oldest ones go, or all of them.

        :return: ``False`` when the sink is so slow that it is to be closed; nothing waits then.
        """
        hub = self._hub
        if self._size + len(frame) > hub.backlog and self._frames:
            if hub.closes:
                hub.taken += 1  # this one, too, is among those that were dropped
                hub.dropped += 1
                hub.closed += 1
                self.discard()
                return False
            self._make_room(len(frame))
        self._frames.append(frame)
        self._size += len(frame)
        hub.waiting += 1
        return True

    def take(self) -> bytes:
        """The oldest frame, to be sent now.

        :raises IndexError: nothing waits.
        """
        frame = self._frames.popleft()
        self._size -= len(frame)
        self._hub.waiting -= 1
        return frame

    def discard(self) -> None:
        """Drop everything."""
        count = len(self._frames)
        self._hub.waiting -= count
        self._hub.dropped += count
        self._frames.clear()
        self._size = 0

    def _make_room(self, size: int) -> None:
        """One frame that is larger than the whole backlog may wait alone."""
        while self._frames and self._size + size > self._hub.backlog:
            self.take()
            self._hub.dropped += 1
