"""Worker threads: what runs, how many, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from twogate.gateway import threads
from twogate.gateway.threads import WorkerThreads


def on_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await test()

        asyncio.run(bounded())

    return run


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def run(pool: WorkerThreads, function: Callable[[Any], object], argument: object) -> None:
    """Submit a job that does not care which thread runs it."""

    def job(value: object, name: str) -> None:
        function(value)

    pool.submit(job, argument)


class Pool:
    """Threads, closed in the end; each must have ended by then."""

    def __init__(self, limit: int) -> None:
        self.threads = WorkerThreads(asyncio.get_running_loop(), limit)

    async def __aenter__(self) -> WorkerThreads:
        return self.threads

    async def __aexit__(self, *exc: object) -> None:
        assert await asyncio.to_thread(self.threads.close, 10.0)


@on_loop
async def test_jobs_run_on_threads_in_order_of_their_submission() -> None:
    seen: list[tuple[int, str]] = []
    async with Pool(1) as pool:
        for number in range(100):
            run(pool, lambda n: seen.append((n, threading.current_thread().name)), number)
        await until(lambda: len(seen) == 100)
    assert [number for number, _ in seen] == list(range(100))
    assert {name for _, name in seen} == {"thread-1"}


@on_loop
async def test_there_are_never_more_threads_than_the_limit() -> None:
    running: set[int] = set()
    most = 0

    def job(number: int) -> None:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        time.sleep(0.02)
        running.discard(number)

    async with Pool(3) as pool:
        for number in range(60):
            run(pool, job, number)
        await until(lambda: pool.statistics().done == 60)
        assert pool.statistics().started <= 3
    assert most == 3


@on_loop
async def test_jobs_that_wait_run_all_at_once_without_tuning() -> None:
    """All meet at a barrier that opens only for all of them: nobody is held back."""
    count = 32
    barrier = threading.Barrier(count)
    met: list[int] = []

    def job(number: int) -> None:
        barrier.wait(20)
        met.append(number)

    async with Pool(64) as pool:
        for number in range(count):
            run(pool, job, number)
        await until(lambda: len(met) == count)


@on_loop
async def test_a_long_computation_does_not_starve_the_others() -> None:
    """The interpreter is busy all the time, so only the stall rule can start a thread."""
    done: list[int] = []
    stop = threading.Event()

    def compute(_: object) -> None:
        while not stop.is_set():
            sum(range(1000))

    async with Pool(4) as pool:
        run(pool, compute, None)
        await until(lambda: pool.statistics().busy)
        for number in range(5):
            run(pool, done.append, number)
        try:
            await until(lambda: len(done) == 5)
        finally:
            stop.set()


@on_loop
async def test_threads_park_when_idle_and_one_stays_awake() -> None:
    barrier = threading.Barrier(6)

    def meet(_: object) -> None:
        barrier.wait(20)

    async with Pool(6) as pool:
        for _ in range(6):
            run(pool, meet, None)
        await until(lambda: pool.statistics().done == 6)
        await until(lambda: pool.statistics().awake == 1)
        assert pool.statistics().started == 6
        # And they come back, without new ones.
        for _ in range(6):
            run(pool, meet, None)
        await until(lambda: pool.statistics().done == 12)
        assert pool.statistics().started == 6


@on_loop
async def test_statistics_tell_the_state() -> None:
    go_on = threading.Event()

    def wait_for_it(_: object) -> None:
        go_on.wait(20)

    async with Pool(1) as pool:
        idle = pool.statistics()
        assert (idle.limit, idle.started, idle.awake, idle.busy) == (1, 0, 0, 0)
        assert (idle.queue, idle.done, idle.wait) == (0, 0, 0.0)
        for _ in range(3):
            run(pool, wait_for_it, None)
        await until(lambda: pool.statistics().queue == 2)
        busy = pool.statistics()
        assert (busy.started, busy.awake, busy.busy, busy.done) == (1, 1, 1, 0)
        await asyncio.sleep(0.02)
        go_on.set()
        await until(lambda: pool.statistics().done == 3)
        after = pool.statistics()
        assert (after.busy, after.queue) == (0, 0)
        assert after.wait >= 0.02
        assert after.cpu >= 0.0


@on_loop
async def test_posts_run_on_the_loop_in_order_and_one_that_fails_loses_no_other() -> None:
    seen: list[tuple[int, int]] = []

    def note(number: int) -> None:
        seen.append((number, threading.get_ident()))
        if number % 10 == 0:
            raise ValueError(number)

    def job(_: object) -> None:
        for number in range(100):
            (pool.post_last if number % 7 == 0 else pool.post)(note, number)

    async with Pool(2) as pool:
        run(pool, job, None)
        await until(lambda: len(seen) == 100)
    assert [number for number, _ in seen] == list(range(100))
    assert {ident for _, ident in seen} == {threading.get_ident()}


@on_loop
async def test_the_last_words_of_a_job_do_not_wait_for_its_end() -> None:
    """Whether or not a controller ticks at that moment."""
    heard: list[int] = []
    go_on = threading.Event()

    def job(pause: float) -> None:
        time.sleep(pause)
        pool.post_last(heard.append, 1)
        assert go_on.wait(20)

    for pause in (0.0, threads.TICK * 10):
        async with Pool(1) as pool:
            heard.clear()
            go_on.clear()
            run(pool, job, pause)
            await until(lambda: heard)
            go_on.set()


@on_loop
async def test_close_finishes_what_is_queued() -> None:
    done: list[int] = []
    pool = WorkerThreads(asyncio.get_running_loop(), 2)
    for number in range(50):
        run(pool, done.append, number)
    await until(lambda: pool.statistics().started)
    assert await asyncio.to_thread(pool.close, 10.0) is True
    assert sorted(done) == list(range(50))


@on_loop
async def test_close_is_bounded() -> None:
    go_on = threading.Event()

    def wait_for_it(_: object) -> None:
        go_on.wait(20)

    pool = WorkerThreads(asyncio.get_running_loop(), 2)
    run(pool, wait_for_it, None)
    await until(lambda: pool.statistics().busy)
    assert pool.close(0.05) is False
    go_on.set()
    assert pool.close(10.0) is True


@on_loop
async def test_a_post_to_a_loop_that_is_closed_is_dropped() -> None:
    other = asyncio.new_event_loop()
    pool = WorkerThreads(other, 1)
    other.close()
    pool.post(pytest.fail, "nobody is left to run this")


@on_loop
async def test_idle_threads_and_ending_threads_say_so() -> None:
    idle: list[str] = []
    ended: list[str] = []

    def fail() -> None:
        ended.append(threading.current_thread().name)
        raise ValueError("which nobody shall notice")

    async with Pool(2) as pool:
        pool.on_idle = lambda: idle.append(threading.current_thread().name)
        pool.on_end = fail
        gate = threading.Event()
        run(pool, lambda _: gate.wait(10), None)
        run(pool, lambda _: gate.set(), None)
        await until(lambda: len(set(idle)) == 2)
        assert ended == []
    assert sorted(ended) == ["thread-1", "thread-2"]
