"""Runs a request through both gateways, by a process that is kept warm, and returns what happened.

That process serves a project and records; this one never imports the project. Any thread may ask;
one request at a time goes through a process, and where many ask there is a second one; others wait
their turn.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import twogate
from twogate.errors import ProjectError
from twogate.trace.client import Request
from twogate.trace.driver import Host, trace_by

__all__ = ["SCENARIOS", "SCENES", "Scenario", "watch"]

Plain: TypeAlias = dict[str, Any]

#: The project that comes with the lab.
SCENES = Path(__file__).parent / "scenes"
#: What serves and records: it is run, not imported, because the project is imported there.
SERVER = "twogate.django.trace_server"
#: Processes of a project at most. Where more serve at once, they slow what they record.
PROCESSES = 2
#: Seconds to wait for one's turn, and until a run that does not end is given up.
TURN, LONGEST = 30.0, 60.0
#: Changes of these files restart the process; folders of other names than these are looked into.
_SUFFIXES = frozenset((".py", ".html"))
_FOREIGN = frozenset(("__pycache__", "node_modules", "venv", "env"))
_MOST_FILES = 5000


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a client may send.

    :ivar key: its name in addresses and in what is kept of a learner.
    :ivar sends: in words, what goes out.
    :ivar teaches: what to look for, as the end of a sentence.
    :ivar path: with its query.
    :ivar messages: what to say over a WebSocket; ``None`` for HTTP.
    """

    key: str
    title: str
    sends: str
    teaches: str
    path: str
    messages: tuple[str, ...] | None = None

    @property
    def request(self) -> Request:
        """What is really sent."""
        return Request("GET", self.path, messages=self.messages, quiet=0.1)


SCENARIOS = {
    scenario.key: scenario
    for scenario in (
        Scenario("page", "A page", "A browser asks for a page of a sync view.",
                 "what each gateway does before and after the same view.", "/page/"),
        Scenario("async-page", "An async page", "The same page, but its view is async.",
                 "what an async view needs from each gateway.", "/async-page/"),
        Scenario("slow", "A slow page", "The view sleeps for a tenth of a second.",
                 "which thread waits for it.", "/slow/?wait=0.1"),
        Scenario("async-slow", "A slow async page", "The view awaits a sleep of the same length.",
                 "what is held, and what is free, while it waits.", "/async-slow/?wait=0.1"),
        Scenario("compute", "Computing", "The view keeps a processor busy.",
                 "that work is not waiting.", "/compute/?compute=30"),
        Scenario("async-compute", "Async computing",
                 "An async view keeps a processor busy and never awaits.",
                 "why async alone makes nothing faster.", "/async-compute/?compute=30"),
        Scenario("stream", "A stream", "The view sends a text in four pieces, with pauses.",
                 "when the pieces reach the client.", "/stream/?pieces=4&pause=0.04"),
        Scenario("websocket", "A WebSocket", "The client opens a WebSocket and says two words.",
                 "why only one of the gateways can carry it.", "/ws/echo/", ("hello", "again")),
    )
}  # fmt: skip


def watch(scenario: Scenario, folder: Path = SCENES) -> Plain:
    """Send what a scenario sends through each gateway, now.

    :param folder: that of a Django project, the one with ``manage.py``.
    :return: the trace document (``docs/design/0014-traces.md``) with Twogate's handlers.
    :raises ProjectError: the project does not load or its process ended; says what to do.
    :raises TimeoutError: too many others wait as well.
    """
    return _project(folder).ask(scenario.request)


class _Project:
    """The processes of one project."""

    def __init__(self, folder: Path) -> None:
        self._all = [_Kept(folder) for _ in range(PROCESSES)]
        # The last to be put back is the first to be taken: one that is warm, not one more.
        self._free: queue.LifoQueue[_Kept] = queue.LifoQueue()
        for kept in self._all:
            self._free.put(kept)

    def ask(self, request: Request) -> Plain:
        try:
            kept = self._free.get(timeout=TURN)
        except queue.Empty:
            message = "Many are watching at this moment. Press Run again."
            raise TimeoutError(message) from None
        try:
            return kept.ask(request)
        finally:
            self._free.put(kept)

    def close(self) -> None:
        for kept in self._all:
            kept.close()


class _Kept:
    """A process, started when it is needed. One thread at a time asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._host: Host | None = None
        self._seen: frozenset[tuple[str, int, int]] = frozenset()

    def ask(self, request: Request) -> Plain:
        return self._ask(self._ready(), request)

    def _ready(self) -> Host:
        """The process, as the project's files are now."""
        seen = frozenset(_files(self._folder))
        if self._host is not None and (seen != self._seen or not self._host.alive):
            self._drop()
        if self._host is None:
            flags = {"access_logfile": "off", "log_level": "warning"}
            self._host, self._seen = Host(SERVER, flags, self._folder, _environment()), seen
        return self._host

    def _ask(self, host: Host, request: Request) -> Plain:
        # Whoever blocks the event loop of that process would have us wait for ever.
        limit = threading.Timer(LONGEST, host.kill)
        limit.daemon = True
        limit.start()
        try:
            return trace_by(host, request)
        except BaseException as error:
            self._drop()  # what was recorded by half would be taken for the next request's
            if isinstance(error, OSError):
                message = f"The process that serves the project does not answer: {error}."
                raise ProjectError(message, "Press Run again.") from error
            raise
        finally:
            limit.cancel()

    def _drop(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            host.close()

    def close(self) -> None:
        """At exit: nobody waits for an answer any more."""
        if self._host is not None:
            self._host.kill()
            self._drop()


_projects: dict[Path, _Project] = {}
_changing = threading.Lock()


def _project(folder: Path) -> _Project:
    with _changing:
        if not _projects:
            atexit.register(_close_all)
        if folder not in _projects:
            _projects[folder] = _Project(folder)
        return _projects[folder]


def _close_all() -> None:
    for project in list(_projects.values()):
        project.close()


def _environment() -> dict[str, str]:
    """Ours, without what speaks of the lab's own project; this very Twogate can be imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "TWOGATE"))}
    paths = [str(Path(twogate.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    # A file that changes twice within a second is not told from its bytecode.
    mine = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **mine}


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Names, times and sizes of what a project is made of."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if one not in _FOREIGN and not one.startswith(".")]
        for name in names:
            if os.path.splitext(name)[1] in _SUFFIXES and (count := count + 1) <= _MOST_FILES:  # noqa: PTH122
                path = os.path.join(root, name)  # noqa: PTH118 - this is done before each run
                try:
                    found = os.stat(path)  # noqa: PTH116
                except OSError:
                    continue
                yield path, found.st_mtime_ns, found.st_size
