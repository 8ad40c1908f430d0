"""Who waits for the answer to a request, and whether they still do. On the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

__all__ = ["Client"]

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Client:
    """Who sent a request, and whether they still wait for the answer.

    :param scope: of the request.
    :param receive: of the request; its body has been read.
    """

    __slots__ = ("_listener", "_notify", "_receive", "_task", "error", "gone")

    def __init__(self, scope: dict[str, Any], receive: Receive) -> None:
        self._receive = receive
        self._notify = scope.get("extensions", {}).get("twogate.disconnect")
        self._listener: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        #: They did not wait for the answer.
        self.gone = False
        #: The server broke the protocol.
        self.error: Exception | None = None

    def watched(self, answering: Coroutine[Any, Any, None]) -> Awaitable[None]:
        """Await ``answering``, which is cancelled once the client has gone.

        Nobody listens for that before it waits for something for the first time, which many views
        never do.
        """
        return Watched(answering, self._listen)

    def _listen(self) -> None:
        self._task = asyncio.current_task()
        if self._notify is not None:
            self._notify(self._went)
        else:
            self._listener = asyncio.ensure_future(self._wait_for_disconnect())

    async def _wait_for_disconnect(self) -> None:
        try:
            message = await self._receive()
            if message["type"] != "http.disconnect":
                raise AssertionError(f"Invalid ASGI message after request body: {message['type']}")
        except Exception as error:
            self.error = error
        self._went()

    def _went(self) -> None:
        task = self._task
        if task is not None and not self.gone:
            self.gone = True
            task.cancel()

    def leave(self) -> None:
        """The answer is complete, or nobody waits for it any more."""
        task, self._task = self._task, None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
        if self.gone and task is not None:
            task.uncancel()


class Watched:
    """Awaits a coroutine, and calls back when it waits for the first time."""

    __slots__ = ("_call", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, None], call: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._call = call

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._coroutine.__await__()
        try:
            waited_for = next(steps)
        except StopIteration:
            return
        self._call()
        while True:
            try:
                yield waited_for
            except BaseException as error:
                try:
                    waited_for = steps.throw(error)
                except StopIteration:
                    return
            else:
                yield from steps
                return
