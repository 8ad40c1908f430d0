"""A project, a process that serves it, and clients."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

PROGRAM = Path(__file__).parent / "program.py"
SOURCES = Path(__file__).parents[2] / "src"

PROJECT = """
import asyncio, os, sys, threading, time
from twogate.dispatch import Applications, Choice

VERSION = {version!r}

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("http only")
    path = scope["path"]
    if path in ("/stuck", "/block", "/slow/0.5", "/slow/1"):
        print("begun", path, file=sys.stderr, flush=True)
    if path.startswith("/slow/"):
        await asyncio.sleep(float(path[6:]))
    elif path == "/stuck":
        await asyncio.Event().wait()
    elif path == "/block":
        time.sleep(60)
    elif path == "/crash":
        os._exit(3)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    body = f"{{VERSION}} {{os.getpid()}}".encode()
    await send({{"type": "http.response.body", "body": body}})

def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/wsgi/stuck":
        print("begun /wsgi/stuck", file=sys.stderr, flush=True)
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{VERSION}} {{os.getpid()}}".encode()]

def choose(head):
    return Choice("wsgi" if head.raw_path.startswith(b"/wsgi") else "asgi", "the test says so")

def load(config):
    return Applications(wsgi=wsgi, asgi=asgi, chooser=choose, notes=["version " + VERSION])
"""


def wait_for(condition: Callable[[], Any], timeout: float = 15.0, what: str = "") -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s for {what or condition}"
        time.sleep(0.02)
    return value


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> dict[int, str]:
    """The children of a process and their states (``Z`` is a zombie)."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid:
            found[int(stat.parent.name)] = state
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Site:
    """A served project."""

    def __init__(self, folder: Path, options: dict[str, Any], **popen: Any) -> None:
        self.lines: list[str] = []
        environment = os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), json.dumps(options)],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            **popen,
        )
        self._seen: set[int] = set()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if found := re.search(r"starts as process (\d+)", line):
                self._seen.add(int(found[1]))
        self.process.stderr.close()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def said(self, text: str, timeout: float = 15.0) -> str:
        """Wait until a line of the log contains the text; returns the line."""
        line: str = wait_for(
            lambda: next((line for line in list(self.lines) if text in line), ""),
            timeout,
            f"{text!r} in\n{self.log}",
        )
        return line

    @property
    def address(self) -> str:
        return re.search(r"(http://\S+|unix:\S+)", self.said(" serves "))[1]  # type: ignore[index]

    def get(self, path: str = "/", timeout: float = 10.0, address: str = "") -> str:
        """The body of a page, over a connection of its own."""
        address = address or self.address
        connection: http.client.HTTPConnection
        if address.startswith("unix:"):
            connection = _UnixConnection(address.removeprefix("unix:"), timeout)
        else:
            connection = http.client.HTTPConnection(
                address.removeprefix("http://"), timeout=timeout
            )
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            assert response.status == 200
            return response.read().decode()
        finally:
            connection.close()

    def version(self) -> str:
        return self.get().split()[0]

    def pid(self) -> int:
        return int(self.get().split()[1])

    def begin(self, path: str) -> socket.socket:
        """Send a request and wait until the application has it, not for the answer."""
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        sock = socket.create_connection((host, int(port)), timeout=10)
        begun = self.log.count(f"begun {path}")
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        wait_for(lambda: self.log.count(f"begun {path}") > begun, what=f"{path} to begin")
        return sock

    def workers(self, count: int) -> set[int]:
        """Wait until just so many workers live; their pids."""

        def right() -> set[int]:
            alive = {pid for pid, state in children(self.process.pid).items() if state != "Z"}
            return alive if len(alive) == count else set()

        found: set[int] = wait_for(right, what=f"{count} workers")
        return found

    def all_ready(self, count: int) -> set[int]:
        """Wait until the first workers, so many, serve; their pids."""
        wait_for(lambda: self.log.count(" is ready") == count, what=f"{count} ready\n{self.log}")
        return self.workers(count)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, timeout: float = 15.0) -> int:
        """Wait for the end; the exit status."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return status

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        victims = {*children(self.process.pid), *filter(is_alive, self._seen)}
        if self.process.poll() is None:
            self.process.kill()
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.ended()


class Load:
    """Clients that ask again and again.

    :param keep_alive: over one connection, until the server says that it closes it; otherwise each
        time over a new one.
    """

    def __init__(
        self, site: Site, clients: int = 4, path: str = "/slow/0.01", keep_alive: bool = False
    ) -> None:
        self.path = path
        self.answers: list[str] = []
        self.errors: list[Exception] = []
        self._headers = {} if keep_alive else {"Connection": "close"}
        self._address = site.address.removeprefix("http://")
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while not self._over.is_set():
            try:
                connection.request("GET", self.path, headers=self._headers)
                response = connection.getresponse()
                assert response.status == 200
                self.answers.append(response.read().decode())
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.errors.append(error)
                connection.close()
        connection.close()

    def more(self, count: int) -> None:
        """Wait for so many more answers."""
        goal = len(self.answers) + count
        wait_for(lambda: len(self.answers) >= goal, what=f"{count} answers")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(15)


class StartSite(Protocol):
    def __call__(self, **options: Any) -> Site: ...


class Project:
    """The folder with ``project.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("one")

    def write(self, version: str, more: str = "") -> None:
        """Save the code, as an editor does: all at once."""
        self.save(PROJECT.format(version=version) + more)

    def save(self, code: str) -> None:
        new = self.folder / "project.new"
        new.write_text(code)
        new.rename(self.folder / "project.py")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def start(project: Project) -> Iterator[StartSite]:
    """Starts the project's server with some options."""
    sites = []

    def start_site(*, popen: dict[str, Any] | None = None, **options: Any) -> Site:
        sites.append(Site(project.folder, {"bind": ["127.0.0.1:0"], **options}, **(popen or {})))
        return sites[-1]

    yield start_site
    for site in sites:
        site.close()
