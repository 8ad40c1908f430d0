"""The bell: heard by every listener, waited for by nobody."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twogate.realtime.bell import Listener, ring

LISTEN = """
import asyncio, sys
from pathlib import Path
from twogate.realtime.bell import Listener
async def main():
    heard = asyncio.Event()
    Listener(Path(sys.argv[1]), heard.set)
    print("listening", flush=True)
    await heard.wait()
    print("heard", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_everybody_on_this_loop_hears(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        listeners = [Listener(tmp_path, first.set), Listener(tmp_path, second.set)]
        assert ring(tmp_path) == 2
        await asyncio.wait_for(asyncio.gather(first.wait(), second.wait()), 5)
        for listener in listeners:
            listener.close()
            listener.close()
        assert ring(tmp_path) == 0
        assert list(tmp_path.iterdir()) == []

    asyncio.run(main())


def test_a_folder_that_nobody_changes_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        first = Listener(tmp_path, lambda: None)
        os.utime(tmp_path, (1e9, 1e9))
        assert ring(tmp_path) == 1
        with monkeypatch.context() as patch:
            patch.setattr(Path, "iterdir", None)
            assert ring(tmp_path) == 1
        second = Listener(tmp_path, lambda: None)
        assert ring(tmp_path) == 2
        first.close()
        second.close()
        assert ring(tmp_path) == 0

    asyncio.run(main())


def test_rings_are_never_waited_for_and_heard_at_least_once(tmp_path: Path) -> None:
    async def main() -> None:
        rings = 0

        def heard() -> None:
            nonlocal rings
            rings += 1

        listener = Listener(tmp_path, heard)
        for _ in range(5000):  # far more than a socket holds
            assert ring(tmp_path) == 1
        while not rings:
            await asyncio.sleep(0)
        assert rings == 1
        listener.close()

    asyncio.run(main())


def test_another_process_hears_and_may_die(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        assert ring(tmp_path) == 1
        assert process.stdout.readline() == "heard\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert len(list(tmp_path.iterdir())) == 1
    assert ring(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
