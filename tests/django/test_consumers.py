"""What Channels asks for around every message: nothing, or a call on the lease's thread."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from channels import db

from .test_executors import request, run

LOCAL = threading.local()


@pytest.fixture
def closed(urlconf: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads on which connections were closed since."""
    urlconf()
    from twogate.django import traces
    from twogate.django.consumers import spare_crossings

    threads: list[str] = []

    def close() -> None:
        threads.append(thread())

    traces.look_around()
    monkeypatch.setattr(traces, "_marks_are_used", False)

    monkeypatch.setattr(db, "sync_to_async", sync_to_async)
    monkeypatch.setattr(db, "close_old_connections", close)
    monkeypatch.setattr("twogate.django.consumers.close_old_connections", close)
    spare_crossings()
    return threads


def thread() -> str:
    return threading.current_thread().name


def ask(times: int = 3) -> Callable[[], Awaitable[None]]:
    async def consumer() -> None:
        for _ in range(times):
            await db.aclose_old_connections()

    return consumer


def in_request(view: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await request(view)

    run(main)


def test_where_no_thread_serves_the_lease_nothing_is_called(
    closed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it has crossed")

    monkeypatch.setattr(SyncToAsync, "__call__", never)
    in_request(ask())
    assert closed == []


def test_a_thread_that_is_kept_is_asked(closed: list[str]) -> None:
    def leave() -> str:
        LOCAL.value = 1
        return thread()

    kept: list[str] = []

    async def consumer() -> None:
        kept.append(await sync_to_async(leave)())
        await ask(1)()

    in_request(consumer)
    assert closed == kept


def test_without_a_lease_it_is_as_ever(closed: list[str]) -> None:
    run(ask(2))
    assert len(closed) == 2


def test_other_functions_cross(closed: list[str]) -> None:
    names: list[str] = []

    async def consumer() -> None:
        names.append(await db.sync_to_async(thread)())

    in_request(consumer)
    assert names != [thread()]


def test_somebody_elses_function_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from twogate.django.consumers import spare_crossings

    def theirs() -> None: ...

    monkeypatch.setattr(db, "sync_to_async", theirs)
    spare_crossings()
    assert db.sync_to_async is theirs
