"""The load: `wrk` for HTTP, a client in a process of its own for WebSocket."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).with_name("websocket_client.py")
FANOUT_CLIENT = Path(__file__).with_name("fanout_client.py")
#: Seconds a load generator may need beyond the time it was asked to run.
SLACK = 30.0
MISSING = "wrk is not installed: run `apt-get install wrk` (Debian, Ubuntu) and try again."


class LoadError(Exception):
    """A load generator could not be run, or the server answered with errors."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What `wrk` saw."""

    rate: float
    failed: int


def require_wrk() -> None:
    """:raises LoadError: `wrk` is not installed."""
    if shutil.which("wrk") is None:
        raise LoadError(MISSING)


def wrk_command(url: str, connections: int, seconds: float) -> list[str]:
    return ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", url]


def read_wrk(output: str) -> Pages:
    """Requests per second, and how many were answered wrongly or not at all."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise LoadError(f"wrk said nothing of use:\n{output}")
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    sockets = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    counts = [*(wrong.groups() if wrong else ()), *(sockets.groups() if sockets else ())]
    return Pages(float(rate[1]), sum(map(int, counts)))


def pages(url: str, connections: int, seconds: float) -> Pages:
    """Load one page with keep-alive connections."""
    command = wrk_command(url, connections, seconds)
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=seconds + SLACK
    )
    return read_wrk(done.stdout)


def pages_in_background(url: str, connections: int, seconds: float) -> subprocess.Popen[str]:
    """Start the same and go on; :func:`finish` waits for it."""
    return subprocess.Popen(
        wrk_command(url, connections, seconds), stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str], seconds: float) -> Pages:
    """The result of :func:`pages_in_background`."""
    try:
        output, _ = process.communicate(timeout=seconds + SLACK)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return read_wrk(output)


def echo(port: int, sockets: int, seconds: float, pause: float = 0.0) -> dict[str, Any]:
    """Echo 32-byte texts: the rate, and the latencies in milliseconds."""
    return run_client(CLIENT, seconds, port, sockets, seconds, pause)


def fan_out(
    port: int, path: str, sockets: int, seconds: float, batch: int, workers: int = 1
) -> dict[str, Any]:
    """One socket speaks, all hear it: deliveries per second, and how busy the client was.

    :param batch: messages read at a time.
    :param workers: processes that get the same share of the sockets each.
    """
    return run_client(FANOUT_CLIENT, seconds, port, path, sockets, seconds, batch, workers)


def run_client(script: Path, seconds: float, *words: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(script), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=seconds + SLACK,
    )
    if done.returncode:
        raise LoadError(f"the WebSocket client failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
