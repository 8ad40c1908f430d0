"""A wrapped function is what it was, and each call is a span."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from twogate.trace.recorder import Recording, Span, enter, span
from twogate.trace.wrap import place_of, traced


def add(a: int, b: int) -> int:
    return a + b


async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


def record() -> tuple[Recording, Span]:
    recording = Recording()
    return recording, Span(recording, None, "request", "GET /")


def test_a_sync_function_stays_sync() -> None:
    recording, root = record()
    call = traced(add, "view", "add", place_of(add))
    assert not iscoroutinefunction(call)
    assert call.__name__ == "add"
    with enter(root):
        assert call(1, 2) == 3
    assert recording.spans[1].name == "add"
    assert recording.spans[1].place == (__file__, add.__code__.co_firstlineno)


def test_an_async_function_stays_async() -> None:
    recording, root = record()
    call = traced(aadd, "view", "aadd")
    assert inspect.iscoroutinefunction(call)

    async def main() -> int:
        with enter(root):
            return int(await call(1, 2))

    assert asyncio.run(main()) == 3
    assert recording.spans[1].end


def test_what_is_marked_async_is_called_at_once_and_ends_when_awaited() -> None:
    recording, root = record()
    begun: list[int] = []

    def dispatch(a: int) -> Awaitable[int]:
        begun.append(a)

        async def work() -> int:
            with span("query", "SELECT"):
                return a

        return work()

    call = traced(markcoroutinefunction(dispatch), "view", "View")
    assert iscoroutinefunction(call)

    async def main() -> None:
        with enter(root):
            coroutine = call(5)
            assert begun == [5]
            assert recording.spans[1].end == 0
            assert await coroutine == 5
        assert await call(6) == 6

    asyncio.run(main())
    view, query = recording.spans[1:]
    assert view.end and query.parent is view


@pytest.mark.parametrize("when", ["called", "awaited"])
def test_what_is_marked_async_and_fails_says_so(when: str) -> None:
    recording, root = record()

    def dispatch() -> Any:
        async def work() -> None:
            raise KeyError("awaited")

        if when == "called":
            raise KeyError("called")
        return work()

    call = traced(markcoroutinefunction(dispatch), "view", "View")

    async def main() -> None:
        with enter(root), pytest.raises(KeyError, match=when):
            await call()

    asyncio.run(main())
    assert recording.spans[1].detail["error"] == f"KeyError: '{when}'"


def test_places() -> None:
    place = place_of(Recording)
    assert place is not None and place[0].endswith("recorder.py") and place[1] > 1
    assert place_of(Recording().count) is not None
    assert place_of(len) is None
