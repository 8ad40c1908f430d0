"""Records each crossing between a loop and a thread that asgiref makes.

Wraps the methods of asgiref's two classes, once, in processes that trace; what is called, in which
context and on which executor, stays as it was. Knows no Django: who is to blame for a crossing is
asked of a function that is handed in. Runs on the loop and on threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

from asgiref.sync import AsyncToSync, SyncToAsync

from twogate.trace.recorder import Crossing, Span, current, enter

__all__ = ["Blame", "install", "name_of"]

#: (kind, name) of what makes it necessary to call a function on the other side, or ``None`` where
#: the innermost open span is to blame. Takes the function and its arguments.
Blame: TypeAlias = Callable[[Any, tuple[Any, ...]], tuple[str, str] | None]

#: Their methods are replaced, which their types do not foresee.
_TO_THREAD: Any = SyncToAsync
_TO_LOOP: Any = AsyncToSync

_installed = False


def install(blame: Blame) -> None:
    """Record crossings in this process from now on; the second call does nothing.

    :param blame: says who is to blame.
    """
    global _installed
    if _installed:
        return
    _installed = True
    _wrap_to_thread(blame)
    _wrap_to_loop(blame)


def name_of(function: Any) -> str:
    """A function's qualified name, whatever it is wrapped in."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _begin(parent: Span, direction: str, function: Any, arguments: Any, blame: Blame) -> Crossing:
    cause = blame(function, arguments) or _innermost(parent)
    return Crossing(parent, direction, name_of(function), cause)


def _innermost(span: Span) -> tuple[str, str]:
    """The span itself, or what a crossing that it is within runs for."""
    return span.cause if isinstance(span, Crossing) else (span.kind, span.name)


def _wrap_to_thread(blame: Blame) -> None:
    call, handle = _TO_THREAD.__call__, _TO_THREAD.thread_handler

    @functools.wraps(call)
    async def traced_call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        parent = current()
        if parent is None:
            return await call(self, *arguments, **keywords)
        crossing = _begin(parent, "to_thread", self.func, arguments, blame)
        with enter(crossing):
            try:
                return await call(self, *arguments, **keywords)
            finally:
                crossing.close()

    @functools.wraps(handle)
    def traced_handle(
        self: Any, loop: Any, exc_info: Any, task_context: Any, function: Any, child: Any
    ) -> Any:
        # The child is what runs in the caller's context, where the crossing is the current span.
        run = functools.partial(_run, child)
        return handle(self, loop, exc_info, task_context, function, run)

    _TO_THREAD.__call__ = traced_call
    _TO_THREAD.thread_handler = traced_handle


def _run(child: Callable[[], Any]) -> Any:
    crossing = current()
    if not isinstance(crossing, Crossing) or crossing.begun:
        return child()
    crossing.arrive()
    try:
        return child()
    finally:
        crossing.leave()


def _wrap_to_loop(blame: Blame) -> None:
    call, main = _TO_LOOP.__call__, _TO_LOOP.main_wrap

    @functools.wraps(call)
    def traced_call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        parent = current()
        if parent is None:
            return call(self, *arguments, **keywords)
        crossing = _begin(parent, "to_loop", self.awaitable, arguments, blame)
        with enter(crossing):
            try:
                return call(self, *arguments, **keywords)
            finally:
                crossing.close()

    @functools.wraps(main)
    async def traced_main(
        self: Any, result: Any, exc_info: Any, task_context: Any, context: Any, awaitable: Any
    ) -> None:
        await main(self, result, exc_info, task_context, context, _await(awaitable))

    _TO_LOOP.__call__ = traced_call
    _TO_LOOP.main_wrap = traced_main


async def _await(awaitable: Any) -> Any:
    crossing = current()
    if not isinstance(crossing, Crossing) or crossing.begun:
        return await awaitable
    crossing.arrive()
    try:
        return await awaitable
    finally:
        crossing.leave()
