"""A sync stream sent from the loop: made on a thread, piece by piece, as it comes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator

from twogate.django.middleware import on_thread

__all__ = ["from_thread"]

#: Bytes, and seconds, after which a sync stream gives its thread to others that wait for one, and
#: waits until what it has made is sent.
_TURN_BYTES = 65536
_TURN_SECONDS = 0.005


async def from_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a sync stream as they come, without blocking the loop."""
    making = Making(pieces, asyncio.get_running_loop())
    more = True
    try:
        while more:
            turn = asyncio.ensure_future(on_thread(making.take_turn))
            turn.add_done_callback(making.end_turn)
            while not turn.done() or making.made:
                await making.come.wait()
                making.come.clear()
                making.told = False  # before looking: what comes from now on tells again
                while making.made:
                    yield making.made.popleft()
            more = turn.result()
    finally:
        making.stopped = True
        turn.cancel()


class Making:
    """A sync stream in the making: pieces go to the loop while the thread waits for the next.

    :param pieces: of the stream.
    :param loop: where they are waited for.
    """

    __slots__ = ("_loop", "_pieces", "come", "made", "stopped", "told")

    def __init__(self, pieces: Iterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._pieces = pieces
        self._loop = loop
        #: Pieces on their way to the loop, and what tells it of them.
        self.made: deque[bytes] = deque()
        self.come = asyncio.Event()
        self.told = False
        #: Nobody wants more of them.
        self.stopped = False

    def take_turn(self) -> bool:
        """On a thread: make some; says whether there may be more. Others get the thread then."""
        size, begun = 0, time.monotonic()
        for piece in self._pieces:
            self.made.append(piece)
            if not self.told:
                self.told = True
                self._loop.call_soon_threadsafe(self.come.set)
            size += len(piece)
            slow = time.monotonic() - begun > _TURN_SECONDS
            if slow or size >= _TURN_BYTES or self.stopped:
                return True
        return False

    def end_turn(self, turn: asyncio.Future[bool]) -> None:
        """On the loop: nothing more comes by itself."""
        self.come.set()
        if not turn.cancelled():
            turn.exception()  # retrieved, also when nobody waits for it any more
