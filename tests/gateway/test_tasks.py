"""Calls of an application: kept while they run, given a moment, cancelled."""

from __future__ import annotations

import asyncio

import pytest

from twogate.gateway.tasks import Calls


def test_a_call_is_kept_until_it_has_returned() -> None:
    async def main() -> None:
        calls = Calls(asyncio.get_running_loop(), "asgi")
        go_on, seen = asyncio.Event(), []

        async def call() -> None:
            await go_on.wait()
            task = asyncio.current_task()
            assert task is not None
            seen.append(task.get_name())

        calls.start(call())
        assert len(calls) == 1
        go_on.set()
        await calls.finish(15)
        assert seen == ["asgi"]
        assert len(calls) == 0

    asyncio.run(main())


def test_what_does_not_end_is_cancelled_and_what_it_raises_is_nobody_elses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> list[str]:
        calls = Calls(asyncio.get_running_loop(), "asgi")
        ends: list[str] = []

        async def wait_for_ever(end: str) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append(end)
                if end == "raises":
                    raise ValueError(end) from None
                raise

        calls.start(wait_for_ever("ends"))
        calls.start(wait_for_ever("raises"))
        await calls.finish(0)
        assert len(calls) == 0
        return sorted(ends)

    assert asyncio.run(main()) == ["ends", "raises"]
    assert not caplog.records
