"""Crossings are found wherever asgiref makes them. In a process of its own: asgiref is wrapped."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from pathlib import Path

from twogate.trace.crossings import name_of

SOURCE = Path(__file__).parent.parent.parent / "src"

BEGIN = """
    import asyncio, threading
    from asgiref.sync import async_to_sync, sync_to_async
    from twogate.trace import crossings
    from twogate.trace.recorder import Recording, Span, enter, span
    crossings.install(lambda function, arguments: None)
    crossings.install(lambda function, arguments: ("never", "asked"))
    recording = Recording()
    root = Span(recording, None, "request", "GET /")
    def found():
        return [s for s in recording.spans if s.kind == "crossing"]
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(BEGIN) + textwrap.dedent(code)],
        capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(SOURCE)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_call_on_a_thread() -> None:
    said = run("""
        def work(n):
            with span("query", "SELECT"):
                return n, threading.current_thread().name
        async def main():
            with enter(root), span("view", "page"):
                assert (await sync_to_async(work)(7))[0] == 7
            assert await sync_to_async(work)(8)  # nobody records it
        asyncio.run(main())
        (crossing,) = found()
        print(crossing.name, crossing.direction, crossing.cause, crossing.parent.name)
        assert crossing.thread == "MainThread" != crossing.to_thread
        assert crossing.start < crossing.begun <= crossing.returned < crossing.end
        assert 0 < crossing.cost < crossing.end - crossing.start
        query = next(s for s in recording.spans if s.kind == "query")
        assert query.parent is crossing and query.thread == crossing.to_thread
    """)
    assert said == "work to_thread ('view', 'page') page\n"


def test_a_call_on_a_loop_and_back_on_a_thread_within() -> None:
    run("""
        def inner():
            return 1
        async def work():
            return await sync_to_async(inner)()
        with enter(root):
            assert async_to_sync(work)() == 1
        there, back = found()
        assert (there.direction, back.direction) == ("to_loop", "to_thread")
        assert back.parent is there and back.cause == there.cause == ("request", "GET /")
        assert there.begun and there.returned and there.to_thread != "MainThread"
        assert back.to_thread == "MainThread"
    """)


def test_what_fails_there_is_seen_here() -> None:
    run("""
        def work():
            raise KeyError("x")
        async def main():
            with enter(root):
                try:
                    await sync_to_async(work)()
                except KeyError:
                    pass
        asyncio.run(main())
        (crossing,) = found()
        assert crossing.returned and crossing.end
    """)


def test_many_at_once_are_told_apart() -> None:
    run("""
        barrier = threading.Barrier(3)
        def work():
            barrier.wait(15)
        async def main():
            with enter(root):
                each = [sync_to_async(work, thread_sensitive=False)() for _ in range(3)]
                await asyncio.gather(*each)
        asyncio.run(main())
        assert len({c.to_thread for c in found()}) == 3
        assert all(c.begun and c.returned for c in found())
    """)


def test_a_function_is_named_whatever_it_is_wrapped_in() -> None:
    class Hook:
        def __call__(self) -> None: ...

    partial = functools.partial(functools.partial(name_of, 1), 2)
    assert name_of(partial) == "name_of"
    assert name_of(Hook()).endswith("Hook")
