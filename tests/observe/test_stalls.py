from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.support.shell import PROJECT, Shell

from twogate.observe import stalls
from twogate.observe.stalls import StallWatch

PATIENCE = 15.0


def hold(seconds: float) -> None:
    time.sleep(seconds)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield lambda coroutine: runner.run(coroutine)
    for thread in threading.enumerate():
        if thread.name == "twogate-stalls":
            thread.join(PATIENCE)
            assert not thread.is_alive()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "twogate.stalls"]


def test_a_stall_is_told_with_the_code_that_caused_it(
    run: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        watch = StallWatch(asyncio.get_running_loop(), 0.05)
        # The watch may just be resting; one that is asked for long enough is seen.
        while not told(caplog):
            hold(0.3)
            await asyncio.sleep(0.1)
        watch.stop()

    with caplog.at_level(logging.WARNING, "twogate.stalls"):
        run(main())
    message = told(caplog)[0]
    assert "the event loop stood still for" in message
    assert f"{__file__}, line {hold.__code__.co_firstlineno + 1}, in hold" in message
    assert "time.sleep(seconds)" in message
    assert "in main" in message


def test_waiting_is_no_stall(run: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        watch = StallWatch(asyncio.get_running_loop(), 0.2)
        await asyncio.sleep(1)
        watch.stop()

    with caplog.at_level(logging.WARNING, "twogate.stalls"):
        run(main())
    assert told(caplog) == []


def test_the_same_line_is_told_once_in_a_while(
    run: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    tell = StallWatch._tell

    def counted(self: StallWatch, seconds: float, stack: Any) -> None:
        tell(self, seconds, stack)
        seen.append(seconds)

    monkeypatch.setattr(StallWatch, "_tell", counted)

    async def main() -> None:
        watch = StallWatch(asyncio.get_running_loop(), 0.05)
        while len(seen) < 3:
            hold(0.3)
            await asyncio.sleep(0.1)
        assert len(told(caplog)) == 1
        monkeypatch.setattr(stalls, "PAUSE", 0.0)
        while len(seen) < 4:
            hold(0.3)
            await asyncio.sleep(0.1)
        watch.stop()

    with caplog.at_level(logging.WARNING, "twogate.stalls"):
        run(main())
    assert len(told(caplog)) == 2


def test_it_ends_with_its_loop(run: Callable[..., None]) -> None:
    async def main() -> None:
        StallWatch(asyncio.get_running_loop(), 0.05)

    run(main())


@pytest.mark.parametrize("debug", [True, False])
def test_the_server_tells_it_in_development_alone(tmp_path: Path, debug: bool) -> None:
    shell = Shell(tmp_path)
    slow = PROJECT["mysite/urls.py"].replace(
        "async def live(request): return", "import time\nasync def live(request):\n"
        "    time.sleep(0.4)\n    return"
    )  # fmt: skip
    settings = PROJECT["mysite/settings.py"].replace("DEBUG = True", f"DEBUG = {debug}")
    shell.write(
        PROJECT
        | {
            "mysite/urls.py": slow,
            "mysite/settings.py": settings + "ALLOWED_HOSTS = ['127.0.0.1']\n",
        }
    )
    with shell.serving() as served:
        for _ in range(3):
            assert served.get("/live/")[1] == "live"
        if debug:
            served.wait_for(r"the event loop stood still for \d+ ms: .*mysite/urls\.py, line 6")
        assert ("stood still" in served._log.read_text()) is debug
