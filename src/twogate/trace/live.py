"""The traces of ``twogate serve --trace``: the last requests of all workers, and pages of them.

Each worker writes its traces to a folder that all of them share and read; a thread does it, so
that the loop does not wait for the disk. The pages are for this machine alone: for clients at a
loopback address that ask for one by name, and not for a proxy's. They belong to the loop's thread.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import platform
import queue
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import twogate
from twogate.trace.conclusions import conclude
from twogate.trace.live_page import PAGE, POLICY
from twogate.trace.page import render
from twogate.trace.recorder import Recording
from twogate.trace.timeline import FORMAT, make_run, plain
from twogate.trace.tracer import Tracer

if TYPE_CHECKING:
    from twogate.exchange import Exchange

__all__ = ["PATH", "Pages", "Shelf", "document_of", "make_tracer", "summary"]

PATH = b"/__twogate__/traces/"
#: Spans of one live trace.
_LIMIT = 2000
#: Traces that wait to be written; more are dropped.
_WAITING = 200
#: Headers that a proxy on this machine adds for those who are elsewhere.
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")


def make_tracer(folder: Path, most: int) -> Tracer:
    """What records the requests of this worker and shows those of all.

    :param folder: what the workers share.
    :param most: traces that are kept there.
    """
    shelf = Shelf(folder, most)
    return Tracer(shelf.add, _LIMIT, Pages(shelf))


class Shelf:
    """The last traces, as files: one for each, whose name sorts by its time.

    :param folder: where they are; other processes use it too.
    :param most: how many are kept.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._waiting: queue.Queue[Recording] = queue.Queue(_WAITING)
        self._writer: threading.Thread | None = None
        self._starting = threading.Lock()

    def add(self, recording: Recording) -> None:
        """Have a recording written. Any thread; does not wait."""
        if self._writer is None:
            self._start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(recording)

    def _start(self) -> None:
        # Not before there is something to write: the worker may fork until then.
        with self._starting:
            if self._writer is None:
                self._writer = threading.Thread(
                    target=self._write_all, name="twogate-traces", daemon=True
                )
                self._writer.start()

    def _write_all(self) -> None:
        while True:
            recording = self._waiting.get()
            with contextlib.suppress(OSError):  # the folder is gone: the server ends
                self.write(recording)

    def write(self, recording: Recording) -> None:
        """Write a recording, and forget the oldest."""
        document = document_of(recording)
        name = f"{time.time_ns():020d}-{os.getpid()}"
        temporary = self._folder / f".{name}"
        temporary.write_text(json.dumps(document, default=str), encoding="utf-8")
        temporary.rename(self._folder / f"{name}.json")
        for old in self.names()[: -self._most]:
            (self._folder / f"{old}.json").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The traces there are, oldest first."""
        return sorted(path.stem for path in self._folder.glob("[0-9]*.json"))

    def read(self, name: str) -> dict[str, Any] | None:
        """A trace, or ``None`` where there is none, or none any more."""
        if name not in self.names():  # also keeps out what is no name
            return None
        try:
            found = (self._folder / f"{name}.json").read_text(encoding="utf-8")
        except OSError:
            return None
        document: dict[str, Any] = json.loads(found)
        return document

    def summaries(self, after: str) -> list[dict[str, Any]]:
        """What the list shows of the traces after one of them, oldest first."""
        made = []
        for name in self.names():
            if name > after and (document := self.read(name)) is not None:
                made.append({"id": name, **summary(document), "worker": name.partition("-")[2]})
        return made


def document_of(recording: Recording) -> dict[str, Any]:
    """The trace document of one request, as the server saw it."""
    recorded = plain(recording)
    facts = recorded["facts"]
    gateway = str(facts.get("gateway", ""))
    handlers = [span.name for span in recording.spans if span.kind == "handler"]
    run = make_run(
        gateway if gateway in ("wsgi", "asgi") else "server",
        f"{recording.spans[0].name} through {gateway.upper()}",
        handlers[0] if handlers else "",
        recorded,
    )
    document: dict[str, Any] = {
        "format": FORMAT,
        "versions": {"twogate": twogate.__version__, "python": platform.python_version()},
        "project": {"settings": os.environ.get("DJANGO_SETTINGS_MODULE", "")},
        "request": facts["request"],
        "at": facts["at"],
        "runs": [run],
        "differences": [],
    }
    document["conclusions"] = conclude(document)
    return document


def summary(document: dict[str, Any]) -> dict[str, Any]:
    """What a list shows of a trace."""
    run, asked = document["runs"][0], document["request"]
    return {
        "at": document["at"], "method": asked["method"], "path": asked["path"],
        "status": run["response"]["status"], "gateway": run["gateway"], "reason": run["reason"],
        "ms": round(run["duration_us"] / 1000, 2), "crossings": run["counts"]["crossings"],
        "queries": run["counts"]["queries"],
    }  # fmt: skip


class Pages:
    """The list of traces, and each of them."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def __call__(self, exchange: Exchange) -> bool:
        """Answer an exchange, if it is about traces; from elsewhere they do not exist."""
        path = exchange.head.raw_path
        if not path.startswith(PATH[:-1]) or exchange.head.is_websocket:
            return False
        if not _is_from_here(exchange):
            return False
        if path == PATH[:-1]:
            exchange.respond(302, [(b"Location", PATH)], b"")
            return True
        if not path.startswith(PATH):
            return False
        status, kind, body = self._page(path[len(PATH) :].decode("latin-1"), exchange)
        headers = [
            (b"Content-Type", kind), (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"), (b"Referrer-Policy", b"no-referrer"),
            (b"X-Frame-Options", b"DENY"),
        ]  # fmt: skip
        if kind is _HTML:
            headers.append((b"Content-Security-Policy", POLICY.encode()))
        exchange.respond(status, headers, body)
        return True

    def _page(self, name: str, exchange: Exchange) -> tuple[int, bytes, bytes]:
        if exchange.head.method not in ("GET", "HEAD"):
            return 405, _TEXT, b"These pages are only read.\n"
        if not name:
            return 200, _HTML, PAGE.encode()
        if name == "list":
            after = exchange.head.query_string.decode("latin-1").removeprefix("after=")
            return 200, _JSON, json.dumps(self._shelf.summaries(after)).encode()
        document = self._shelf.read(name.removesuffix(".json"))
        if document is None:
            return 404, _TEXT, b"There is no such trace, or it was replaced by later ones.\n"
        if name.endswith(".json"):
            return 200, _JSON, json.dumps(document).encode()
        return 200, _HTML, render(document).encode()


_HTML, _JSON = b"text/html; charset=utf-8", b"application/json"
_TEXT = b"text/plain; charset=utf-8"


def _is_from_here(exchange: Exchange) -> bool:
    """Whether a person at this machine asks, and not a proxy, nor a name that leads here."""
    client = exchange.peer.client
    if client is None or not _is_loopback(client[0]):
        return False
    head = exchange.head
    if any(head.header(name) is not None for name in _FORWARDED):
        return False
    host = (head.header(b"host") or b"").decode("latin-1").rpartition("]")
    name = f"{host[0]}]" if host[1] else host[2].partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
