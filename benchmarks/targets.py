"""How each server is started: one worker process, its best flags, no access log for the peers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass

WSGI_APPLICATION = "bench.wsgi:application"
ASGI_APPLICATION = "bench.asgi:application"


@dataclass(frozen=True, slots=True)
class Target:
    """One server in one setting.

    :ivar name: as the table shows it.
    :ivar package: the distribution whose version the table shows.
    :ivar command: arguments after ``python -m``; ``{port}`` stands for the port.
    :ivar gates: the interfaces it serves, ``"wsgi"`` and/or ``"asgi"``.
    :ivar websocket_only: a setting that changes nothing for pages.
    """

    name: str
    package: str
    command: tuple[str, ...]
    gates: frozenset[str]
    websocket_only: bool = False

    @property
    def is_peer(self) -> bool:
        return self.package != "twogate"

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        if not self.is_peer:
            from twogate import __version__

            return __version__
        return importlib.metadata.version(self.package)

    @property
    def flags(self) -> str:
        """The flags worth showing: all but where to listen and what to serve."""
        where = {WSGI_APPLICATION, ASGI_APPLICATION, self.command[0]}
        return " ".join(
            word
            for word in self.command
            if word not in where and not word.startswith(("--bind=", "--port=", "--listen="))
        )

    def argv(self, port: int) -> list[str]:
        return [sys.executable, "-m", *(word.format(port=port) for word in self.command)]


def wsgi(name: str, package: str, *command: str) -> Target:
    return Target(name, package, (package, *command, WSGI_APPLICATION), frozenset({"wsgi"}))


def asgi(name: str, package: str, *command: str, websocket_only: bool = False) -> Target:
    words = (package, *command, ASGI_APPLICATION)
    return Target(name, package, words, frozenset({"asgi"}), websocket_only)


def twogate(name: str, *command: str) -> Target:
    """Both gateways, everything left at its default (the access log goes to a file)."""
    return Target(
        name,
        "twogate",
        ("twogate", "serve", "--bind=127.0.0.1:{port}", *command),
        frozenset({"wsgi", "asgi"}),
    )


def gunicorn(name: str, *command: str) -> Target:
    return wsgi(
        f"gunicorn {name}",
        "gunicorn",
        "--bind=127.0.0.1:{port}",
        "--workers=1",
        "--log-level=error",
        *command,
    )


def granian_wsgi(threads: int) -> Target:
    return wsgi(
        f"granian WSGI, {threads} thread{'s' if threads > 1 else ''}",
        "granian",
        "--interface=wsgi",
        "--port={port}",
        "--workers=1",
        "--no-ws",
        "--log-level=error",
        f"--blocking-threads={threads}",
    )


TARGETS = (
    twogate("twogate"),
    twogate("twogate, no access log", "--access-logfile=off"),
    *(granian_wsgi(threads) for threads in (1, 4, 16, 64)),
    gunicorn("sync", "--worker-class=sync"),
    *(
        gunicorn(f"gthread, {threads} threads", "--worker-class=gthread", f"--threads={threads}")
        for threads in (4, 16, 64)
    ),
    wsgi("waitress", "waitress", "--listen=127.0.0.1:{port}", "--threads=4"),
    asgi(
        "granian ASGI",
        "granian",
        "--interface=asginl",
        "--port={port}",
        "--workers=1",
        "--loop=uvloop",
        "--log-level=error",
    ),
    asgi(
        "uvicorn",
        "uvicorn",
        "--port={port}",
        "--loop=uvloop",
        "--http=httptools",
        "--lifespan=off",
        "--no-access-log",
        "--log-level=error",
    ),
    asgi(
        "uvicorn, ws sans-io",
        "uvicorn",
        "--port={port}",
        "--loop=uvloop",
        "--http=httptools",
        "--ws=websockets-sansio",
        "--lifespan=off",
        "--no-access-log",
        "--log-level=error",
        websocket_only=True,
    ),
    asgi(
        "hypercorn",
        "hypercorn",
        "--bind=127.0.0.1:{port}",
        "--workers=1",
        "--worker-class=uvloop",
        "--log-level=error",
    ),
    asgi("daphne", "daphne", "--bind=127.0.0.1", "--port={port}", "--verbosity=0"),
)


def chosen(names: list[str]) -> list[Target]:
    """The installed targets whose name begins with one of ``names`` (all when empty)."""
    return [
        target
        for target in TARGETS
        if target.installed and (not names or target.name.lower().startswith(tuple(names)))
    ]
