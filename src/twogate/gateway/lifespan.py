"""ASGI lifespan: start-up and shutdown events around the life of a server (ASGI, lifespan 2.0).

In ``auto`` an application that does not know lifespan is served without it, and not a word is said:
Django raises on the lifespan scope, and there is nothing a user should do about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from twogate.errors import WorkerFailed
from twogate.gateway.asgi import AsgiApplication, Message

__all__ = ["Lifespan"]

logger = logging.getLogger("twogate.lifespan")


class Lifespan:
    """The lifespan of one application in one server.

    :param application: an ASGI 3 application.
    :param mode: ``"auto"``, ``"on"`` (an application without lifespan is an error) or ``"off"``.
    """

    def __init__(self, application: AsgiApplication, mode: str) -> None:
        self._application = application
        self._mode = mode
        #: What the application keeps for its requests.
        self.state: dict[str, Any] = {}
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[Message] | None = None

    async def startup(self) -> None:
        """Send ``lifespan.startup`` and wait for its answer.

        :raises WorkerFailed: the application said that its start-up failed, or knows no lifespan
            while the mode is ``"on"``.
        """
        if self._mode == "off":
            return
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._events.put_nowait({"type": "lifespan.startup"})
        self._task = loop.create_task(self._run())
        await _either(self._task, self._answer, None)
        if self._answer.done():
            answer = self._answer.result()
            if answer["type"] == "lifespan.startup.failed":
                raise WorkerFailed(f"The application's start-up failed: {_text(answer)}")
            return
        error = self._task.exception()
        self._task = None
        if self._mode == "on":
            raise WorkerFailed(f"The application has no lifespan (--lifespan on): {error}")
        logger.debug("The application has no lifespan: %s", error)

    async def shutdown(self, timeout: float) -> None:
        """Send ``lifespan.shutdown`` and wait for its answer, at most ``timeout`` seconds."""
        task, self._task = self._task, None
        if task is None or task.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": "lifespan.shutdown"})
        await _either(task, self._answer, timeout)
        if self._answer.done():
            answer = self._answer.result()
            if answer["type"] == "lifespan.shutdown.failed":
                logger.error("The application's shutdown failed: %s", _text(answer))
            await asyncio.wait({task}, timeout=timeout)
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        await self._application(scope, self._events.get, self._send)

    async def _send(self, message: Message) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)


async def _either(
    task: asyncio.Task[None], answer: asyncio.Future[Message], timeout: float | None
) -> None:
    """Wait until the application has answered, or has ended without an answer."""
    waiting: set[asyncio.Future[Any]] = {task, answer}
    await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def _text(answer: Message) -> str:
    return str(answer.get("message") or "it gave no reason")
