"""Wraps functions so that each call is a span, and stays what it was: sync, async, or marked async.

Knows asgiref's marks and no Django. The wrapper runs where the function would have run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from twogate.trace.recorder import Span, current, enter, span

__all__ = ["place_of", "traced"]


def place_of(thing: Any) -> tuple[str, int] | None:
    """(file, line) where a function or class is written; ``None`` for what is not Python."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    thing = getattr(thing, "__func__", thing)
    code = getattr(thing, "__code__", None)
    if code is not None:
        return code.co_filename, code.co_firstlineno
    try:
        found = thing if inspect.isclass(thing) else type(thing)
        return str(Path(inspect.getfile(found))), inspect.getsourcelines(found)[1]
    except (OSError, TypeError):
        return None


def traced(
    function: Callable[..., Any],
    kind: str,
    name: str,
    place: tuple[str, int] | None = None,
) -> Any:
    """A function whose calls are spans."""
    if _is_async_def(function):

        @functools.wraps(function)
        async def traced_async(*arguments: Any, **keywords: Any) -> Any:
            with span(kind, name, place):
                return await function(*arguments, **keywords)

        return traced_async
    if iscoroutinefunction(function):
        return markcoroutinefunction(_marked(function, kind, name, place))

    @functools.wraps(function)
    def traced_sync(*arguments: Any, **keywords: Any) -> Any:
        with span(kind, name, place):
            return function(*arguments, **keywords)

    return traced_sync


def _is_async_def(function: Any) -> bool:
    """Whether a call makes a coroutine and runs nothing; what is only marked may run at once."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_COROUTINE)


def _marked(
    function: Callable[..., Any], kind: str, name: str, place: tuple[str, int] | None
) -> Callable[..., Any]:
    """For what is no ``async def`` but returns something to await: it is called at once, and the
    span goes on until it was awaited."""

    @functools.wraps(function)
    def traced_call(*arguments: Any, **keywords: Any) -> Any:
        parent = current()
        if parent is None:
            return function(*arguments, **keywords)
        opened = Span(parent.recording, parent, kind, name, place)
        with enter(opened):
            try:
                return _finish(function(*arguments, **keywords), opened)
            except BaseException as error:
                opened.close(error)
                raise

    return traced_call


async def _finish(awaitable: Awaitable[Any], opened: Span) -> Any:
    with enter(opened):
        try:
            result = await awaitable
        except BaseException as error:
            opened.close(error)
            raise
    opened.close()
    return result
