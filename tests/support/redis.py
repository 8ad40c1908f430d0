"""A Redis server in a temporary folder: for tests and for the benchmarks, which share it.

It listens on a Unix socket in a folder that only its owner can enter, so it needs neither a port
nor a password, and any number of them run side by side. Nothing in it outlives the block.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["RedisError", "RedisServer", "redis_process", "redis_server"]

START_TIMEOUT = 15.0
STOP_TIMEOUT = 15.0
MISSING = "Redis is not installed: run `apt-get install redis-server` (Debian, Ubuntu)"


class RedisError(Exception):
    """Redis is not installed, or a server did not start."""


class RedisServer:
    """A server that can be killed, stopped and started again; made by :func:`redis_process`.

    :ivar url: its address, the same after each start.
    """

    def __init__(self, folder: Path, program: str) -> None:
        # Not pytest's folder: the path of a Unix socket has room for 107 bytes, unix(7).
        self._path = folder / "socket"
        self._log = folder / "log"
        settings = {
            "port": 0, "unixsocket": self._path, "dir": folder, "save": "", "appendonly": "no"
        }  # fmt: skip
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self._command = [program, *words]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._path}"

    def start(self) -> None:
        """Start, with no data, and wait until it answers."""
        self._path.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        _wait_until_ready(self._process, self._path, self._log)

    def signal(self, number: int) -> None:
        """Send a signal, SIGSTOP for one that answers no more, for example."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and it is gone."""
        self.signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(STOP_TIMEOUT)


@contextlib.contextmanager
def redis_process(start: bool = True) -> Iterator[RedisServer]:
    """A server for the time of the block, that may be killed and started again.

    :param start: false for one that is absent at first.
    :raises RedisError: Redis is not installed, or does not start.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise RedisError(MISSING)
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), program)
        try:
            if start:
                server.start()
            yield server
        finally:
            server.close()


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A server for the time of the block; its address as a URL.

    :raises RedisError: Redis is not installed, or does not start.
    """
    with redis_process() as server:
        yield server.url


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RedisError(f"Redis did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
            sock.sendall(b"PING\r\n")
            return sock.recv(16) == b"+PONG\r\n"
        except OSError:
            return False
