"""The calls of an ASGI application that have not returned, a task each. Loop's thread only.

Knows neither requests nor WebSockets, only how their calls begin and how the last of them end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

__all__ = ["Calls"]

#: Seconds in which a call may end by itself before it is cancelled.
_MOMENT = 0.25


class Calls:
    """Runs calls and keeps them, which the loop does not, until they have returned.

    :param loop: the running loop.
    :param name: of their tasks, for those who look at what runs.
    """

    __slots__ = ("_context", "_forget", "_loop", "_name", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        # One of each for all tasks: they live as long as a task does, and some live for hours.
        self._forget = self._tasks.discard
        self._context = copy_context()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, call: Coroutine[Any, Any, None]) -> None:
        """Run a call in a task of its own."""
        task = self._loop.create_task(call, name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._forget, context=self._context)

    async def finish(self, timeout: float) -> None:
        """Wait for those that run, at most ``timeout`` seconds, then cancel those that still do.

        A moment they always get: most end by themselves when they see the disconnect, and Django
        leaves tasks of its own behind, whose exceptions nobody retrieves, when it is cancelled
        before.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(timeout, _MOMENT))
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            done, _ = await asyncio.wait(left, timeout=1.0)
            for task in done:
                if not task.cancelled():
                    task.exception()  # retrieved, so that nobody logs it
