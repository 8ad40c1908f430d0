"""Serves the project ``tests/projects/visits`` by a server in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.http import PATIENCE, Client, eventually, get
from tests.support.postgres import Postgres

from .conftest import STOP_TIMEOUT, environment, free_port

FOLDER = Path(__file__).parent.parent / "projects"
#: What the connections of the project call themselves.
APPLICATION = "visits"


def command(server: str, port: int, threads: int) -> list[str]:
    """What starts a server; see :func:`visiting`."""
    name, _, gateway = server.partition(" ")
    if name == "uvicorn":
        options = ["visits.asgi:application", f"--port={port}", "--no-access-log"]
        return [sys.executable, "-m", "uvicorn", *options]
    options = [f"--bind=127.0.0.1:{port}", f"--threads={threads}", "--workers=0"]
    if gateway:
        options.append(f"--gateway={gateway}")
    return [sys.executable, "-m", "twogate", "serve", "visits.settings", *options]


@dataclass(slots=True)
class Visits:
    """The project, being served.

    :ivar temporary: where it puts its temporary files.
    """

    port: int
    process: subprocess.Popen[bytes]
    log_file: Path
    temporary: Path

    def connect(self) -> Client:
        return Client(socket.create_connection(("127.0.0.1", self.port), PATIENCE))

    def ask(self, target: str) -> bytes:
        """The body of a page, on a connection of its own."""
        with self.connect() as client:
            response = client.ask(get(target))
            assert response.status == 200, (target, response)
            return response.body

    def state(self) -> dict[str, Any]:
        """See the view of this name."""
        state: dict[str, Any] = json.loads(self.ask("/state/"))
        return state

    def noted(self, *wanted: str) -> list[str]:
        """Wait until each of these was noted; all notes until then."""
        notes: list[str] = []

        def complete() -> bool:
            notes.extend(self.state()["notes"])
            return set(wanted) <= set(notes)

        eventually(complete, f"only {notes} of {wanted}")
        return notes

    def settles(self, before: dict[str, Any]) -> None:
        """Wait until there are no more tasks and descriptors than before, and no file is open."""

        def settled() -> bool:
            now = self.state()
            fewer = all(now[what] <= before[what] for what in ("tasks", "descriptors"))
            return fewer and not now["open"] and now["temporary"] == before["temporary"]

        eventually(settled, f"before {before}, now {self.state()}")

    def memory(self, what: str = "VmRSS") -> int:
        """The process's memory in bytes; ``VmHWM`` is the most there ever was."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(what)
        )

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


@contextlib.contextmanager
def visiting(
    server: str,
    folder: Path,
    database: Postgres | None = None,
    threads: int = 4,
    **more: str,
) -> Iterator[Visits]:
    """The project for the time of the block; the server must leave in peace, without a traceback.

    :param server: ``"uvicorn"``, ``"twogate"``, or ``"twogate asgi"`` for one gateway alone.
    :param folder: for its log and its temporary files.
    """
    temporary = folder / "temporary"
    temporary.mkdir()
    if database is not None:
        entry = {**database.django, "OPTIONS": {"application_name": APPLICATION}}
        more["VISITS_DATABASE"] = json.dumps({**entry, "CONN_MAX_AGE": None})
    more = {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1", **more}
    settings = environment(**more)
    settings["PYTHONPATH"] = os.pathsep.join([settings["PYTHONPATH"], str(FOLDER)])
    port, log_file = free_port(), folder / "server.log"
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            command(server, port, threads),
            cwd=FOLDER, env=settings, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    visits = Visits(port, process, log_file, temporary)
    try:
        eventually(lambda: _is_up(visits), "the server did not start", 30)
        yield visits
        process.terminate()
        # uvicorn ends by the signal, as it should.
        assert process.wait(STOP_TIMEOUT) in (0, -signal.SIGTERM), visits.log
        assert "Traceback" not in visits.log, visits.log
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


def _is_up(visits: Visits) -> bool:
    assert visits.process.poll() is None, f"the server ended by itself:\n{visits.log}"
    with contextlib.suppress(OSError, http.client.HTTPException):
        return visits.ask("/async_page/") == b"async page"
    time.sleep(0.05)
    return False
