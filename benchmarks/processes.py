"""Starts one server, tells when it answers, reads its memory from /proc, and stops it.

Only processes started here are ever signalled: each server leads a process group of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from targets import Target
from tests.support.postgres import Postgres

START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0
#: A thread that lives for less is met only by luck: what is counted is a lower bound.
LOOK_EVERY = 0.1
SOURCE = Path(__file__).resolve().parent.parent / "src"


class ServerError(Exception):
    """A server did not start, or stopped by itself."""


@dataclass(slots=True)
class Server:
    """A running server.

    :ivar database: what its project runs on, when that is PostgreSQL.
    """

    target: Target
    port: int
    process: subprocess.Popen[bytes]
    database: Postgres | None = None

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def pids(self) -> list[int]:
        """The process that was started and all that descend from it."""
        return [self.process.pid, *descendants(self.process.pid)]

    def worker(self) -> int:
        """The process that serves: the child with most memory, or the only process there is."""
        children = self.pids()[1:]
        return max(children, key=resident) if children else self.process.pid


def environment(**more: str) -> dict[str, str]:
    """Ours, with Twogate's sources importable when it is not installed."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether ``/hello/`` is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/hello/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until_ready(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not answers(server.port):
        if server.process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:]
            raise ServerError(f"{server.target.name} did not start:\n{tail}")
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server, and its whole group if it does not leave in time."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)


@contextlib.contextmanager
def running(target: Target, project: Path, database: Postgres | None = None) -> Iterator[Server]:
    """The server, started in the project's folder and ready; its output goes to a file."""
    log = project.parent / "server.log"
    port = free_port()
    settings = target.settings if database is None else "bench.settings_postgres"
    with log.open("wb") as output:
        process = subprocess.Popen(
            target.argv(port),
            cwd=project,
            env=environment(DJANGO_SETTINGS_MODULE=settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = Server(target, port, process, database)
        wait_until_ready(server, log)
        yield server
    finally:
        stop(process)


def descendants(pid: int) -> list[int]:
    """All children of a process, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def threads(pid: int) -> set[int]:
    """The ids of a process's threads; none when it is gone."""
    with contextlib.suppress(OSError):
        return {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()}
    return set()


@contextlib.contextmanager
def watching_threads(pid: int) -> Iterator[set[int]]:
    """A set that is filled with the ids of the threads that come during the block."""
    before, started, done = threads(pid), set[int](), threading.Event()

    def look() -> None:
        while not done.wait(LOOK_EVERY):
            started.update(threads(pid) - before)

    looker = threading.Thread(target=look, name="threads")
    looker.start()
    try:
        yield started
    finally:
        done.set()
        looker.join()
        started.update(threads(pid) - before)


def status_bytes(pid: int, field: str) -> int:
    """A field of ``/proc/PID/status`` that is given in kB; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    return status_bytes(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most memory that was ever resident, in bytes, since :func:`reset_peak`."""
    return status_bytes(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Start the peak anew (proc(5), ``clear_refs``); where that is not allowed it stays."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def proportional(pid: int) -> int:
    """Memory in bytes with shared pages divided among their users; resident if unreadable."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return resident(pid)
