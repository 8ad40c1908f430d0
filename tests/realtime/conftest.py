"""Layers of this process, and other processes that have the same."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from django.conf import settings
from tests.support.redis import RedisServer, redis_process
from tests.support.settings import configure

from twogate.realtime import LocalChannelLayer

ROOT = Path(__file__).parents[2]
DEADLINE = 15.0
#: For what must not come: long enough for it to come if it could.
QUIET = 0.2

_T = TypeVar("_T")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A parent for runtime folders; pytest's own has too long a path for sockets."""
    with tempfile.TemporaryDirectory(prefix="twogate-") as name:
        yield Path(name)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, which it may kill."""
    with redis_process() as server:
        yield server


class Clock:
    """A clock that stands until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class MakeLayer(Protocol):
    """``make_layer(capacity=3)`` makes a layer in the test's folder."""

    def __call__(self, **options: Any) -> LocalChannelLayer: ...


@pytest.fixture
def make_layer(folder: Path) -> Iterator[MakeLayer]:
    configure()
    layers: list[LocalChannelLayer] = []

    def make(**options: Any) -> LocalChannelLayer:
        layers.append(LocalChannelLayer(folder=folder, **options))
        return layers[-1]

    yield make
    for layer in layers:
        asyncio.run(layer.close())


@pytest.fixture
def layer(make_layer: MakeLayer) -> LocalChannelLayer:
    return make_layer()


class Process:
    """See ``peer.py``."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        path = [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.popen = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.realtime.peer",
                settings.SECRET_KEY,
                str(folder),
                json.dumps(options),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.received: list[Any] = []
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            said = json.loads(line)
            if "received" in said:
                self.received.append(said["received"])
            else:
                self._answers.put(said)

    def answer(self) -> Any:
        said = self._answers.get(timeout=DEADLINE)
        assert "answer" in said, said
        return said["answer"]

    def tell(self, do: str, **arguments: Any) -> None:
        """Have it do something, without waiting for the answer."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.popen.stdin.flush()

    def do(self, do: str, **arguments: Any) -> Any:
        """Have it do something, and return the answer."""
        self.tell(do, **arguments)
        return self.answer()

    def stop(self) -> None:
        """SIGSTOP, and it has stopped."""
        self.popen.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED)

    def go_on(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(DEADLINE)

    def close(self) -> None:
        self.popen.kill()
        self.popen.communicate(timeout=DEADLINE)
        self._reader.join(DEADLINE)


class StartProcess(Protocol):
    """``start_process(capacity=3)`` starts a process whose layer meets those of ``make_layer``."""

    def __call__(self, **options: Any) -> Process: ...


@pytest.fixture
def start_process(folder: Path) -> Iterator[StartProcess]:
    configure()
    processes: list[Process] = []

    def start(**options: Any) -> Process:
        process = Process(folder, options)
        processes.append(process)
        assert process.answer() == "ready"
        return process

    yield start
    for process in processes:
        process.close()


def wait_until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for a condition, by polling."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what or "it did not happen in time"
        time.sleep(0.005)


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end, which must come in time."""
    return asyncio.run(asyncio.wait_for(coroutine, DEADLINE))


def sockets(folder: Path) -> list[Path]:
    """The sockets of all nodes."""
    return list(folder.glob("*/*.sock"))


def descriptors() -> set[str]:
    """What this process has open, by number and kind; not what only waits for the collector."""
    gc.collect()
    found = set[str]()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the look itself
            found.add(f"{file.name} {file.readlink()}")
    return found
