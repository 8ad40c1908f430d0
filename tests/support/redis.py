"""A Redis server in a temporary folder: for tests and for the benchmarks, which share it.

It listens on a Unix socket in a folder that only its owner can enter, so it needs neither a port
nor a password, and any number of them run side by side. Nothing in it outlives the block.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["RedisError", "redis_server"]

START_TIMEOUT = 15.0
STOP_TIMEOUT = 15.0
MISSING = "Redis is not installed: run `apt-get install redis-server` (Debian, Ubuntu)"


class RedisError(Exception):
    """Redis is not installed, or a server did not start."""


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A server for the time of the block; its address as a URL.

    :raises RedisError: Redis is not installed, or does not start.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise RedisError(MISSING)
    # Not pytest's folder: the path of a Unix socket has room for 107 bytes, unix(7).
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        path = Path(folder, "socket")
        settings = {"port": 0, "unixsocket": path, "dir": folder, "save": "", "appendonly": "no"}
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([program, *words], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(process, path, Path(folder, "log"))
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT)


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
