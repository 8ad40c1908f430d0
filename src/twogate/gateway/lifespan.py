"""ASGI lifespan: start-up and shutdown events around the life of a server (ASGI, lifespan 2.0).

In ``auto`` an application that does not know lifespan is served without it, and not a word is said:
Django raises on the lifespan scope, and there is nothing a user should do about it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from twogate.errors import ApplicationError, WorkerFailed
from twogate.gateway.asgi import AsgiApplication, Message

__all__ = ["Lifespan"]

logger = logging.getLogger("twogate.lifespan")

#: Seconds that a cancelled application has to clean up.
_LAST_WORDS = 1.0


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
        #: What the application may say next.
        self._expected: tuple[str, ...] = ()
        #: The application has taken an event, so it does know lifespan.
        self._known = False

    async def startup(self) -> None:
        """Send ``lifespan.startup`` and wait for its answer.

        :raises WorkerFailed: the application said that its start-up failed, or knows no lifespan
            while the mode is ``"on"``.
        """
        if self._mode == "off":
            return
        answer = self._ask("startup")
        task = self._task = asyncio.create_task(self._run())
        try:
            await _either(task, answer, None)
        except asyncio.CancelledError:
            await _finish(task)
            raise
        if not answer.done():
            self._task = None
            self._go_without(_outcome(task))
        elif answer.result()["type"] == "lifespan.startup.failed":
            self._task = None
            await _finish(task)
            raise WorkerFailed(f"The application's start-up failed: {_text(answer.result())}")

    def _go_without(self, error: BaseException | None) -> None:
        """ASGI lifespan, "Scope": after an exception the server continues without lifespan."""
        cause = repr(error) if error is not None else "it returned without an answer"
        if self._mode == "on":
            raise WorkerFailed(
                f"The application has no lifespan (--lifespan on): {cause}"
            ) from error
        if self._known and error is not None:
            # It took the event and broke: nobody else would ever say so.
            logger.warning("The application's lifespan start-up raised", exc_info=error)
        else:
            logger.debug("The application has no lifespan: %s", cause)

    async def shutdown(self, timeout: float) -> None:
        """Send ``lifespan.shutdown`` and wait for its answer, at most ``timeout`` seconds."""
        task, self._task = self._task, None
        if task is None:
            return
        if not task.done():
            answer = self._ask("shutdown")
            deadline = asyncio.get_running_loop().time() + timeout
            await _either(task, answer, timeout)
            if answer.done():
                if answer.result()["type"] == "lifespan.shutdown.failed":
                    logger.error("The application's shutdown failed: %s", _text(answer.result()))
                left = max(0.0, deadline - asyncio.get_running_loop().time())
                await asyncio.wait({task}, timeout=left)
            elif not task.done():
                logger.error("The application's shutdown took longer than %g s", timeout)
        await _finish(task)
        if (error := _outcome(task)) is not None:
            logger.error("The application's lifespan raised", exc_info=error)

    def _ask(self, what: str) -> asyncio.Future[Message]:
        self._answer = answer = asyncio.get_running_loop().create_future()
        self._expected = (f"lifespan.{what}.complete", f"lifespan.{what}.failed")
        self._events.put_nowait({"type": f"lifespan.{what}"})
        return answer

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._application(scope, self._receive, self._send)
        except SystemExit as error:
            # It must not stop the loop; what it means is decided where the outcome is looked at.
            raise ApplicationError("The application raised SystemExit in its lifespan.") from error

    async def _receive(self) -> Message:
        message = await self._events.get()
        self._known = True
        return message

    async def _send(self, message: Message) -> None:
        if message.get("type") not in self._expected:
            raise ApplicationError(
                f"{message.get('type')!r} was sent where {' or '.join(self._expected)} was due"
                " (ASGI, Lifespan Protocol)."
            )
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)


async def _either(
    task: asyncio.Task[None], answer: asyncio.Future[Message], timeout: float | None
) -> None:
    """Wait until the application has answered, or has ended without an answer."""
    waiting: set[asyncio.Future[Any]] = {task, answer}
    await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


async def _finish(task: asyncio.Task[None]) -> None:
    """End a task that may not want to, and look at its outcome, or asyncio complains."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_LAST_WORDS)
    _outcome(task)


def _outcome(task: asyncio.Task[None]) -> BaseException | None:
    """What the application raised, if it has ended that way."""
    if not task.done() or task.cancelled():
        return None
    return task.exception()


def _text(answer: Message) -> str:
    return str(answer.get("message") or "it gave no reason")
