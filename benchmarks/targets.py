"""How each server is started: one worker process, its best flags, no access log for the peers."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass

from twogate import django as django_room
from twogate.config import OPTIONS

WSGI_APPLICATION = "bench.wsgi:application"
ASGI_APPLICATION = "bench.asgi:application"
#: The same with Twogate's handler in the place of Django's.
OUR_ASGI_APPLICATION = "bench.asgi_twogate:application"
SETTINGS = "bench.settings"
#: Worker processes of the targets that differ in their channel layer.
LAYER_WORKERS = 2
#: By name in the table: the settings module, and the package it needs beside the server's.
REDIS_LAYERS = {
    "channels_redis": "bench.settings_redis",
    "channels_redis pub/sub": "bench.settings_redis_pubsub",
}
LOCAL_LAYER = "bench.settings_local"
APPLICATIONS = {WSGI_APPLICATION, ASGI_APPLICATION, OUR_ASGI_APPLICATION}


@dataclass(frozen=True, slots=True)
class Target:
    """One server in one setting.

    :ivar name: as the table shows it.
    :ivar package: the distribution whose version the table shows.
    :ivar command: arguments after ``python -m``; ``{port}`` stands for the port.
    :ivar gates: the interfaces it serves, ``"wsgi"`` and/or ``"asgi"``.
    :ivar only: the one kind of work that the setting changes: ``"websocket"``, ``"async"`` (views)
        or ``"layers"``; ``""`` when it takes part in everything.
    :ivar is_peer: it runs none of our code.
    :ivar available: what the setting needs is here.
    :ivar settings: the settings module of the project.
    """

    name: str
    package: str
    command: tuple[str, ...]
    gates: frozenset[str]
    only: str = ""
    is_peer: bool = True
    available: bool = True
    settings: str = SETTINGS

    @property
    def installed(self) -> bool:
        return self.available and importlib.util.find_spec(self.package) is not None

    @property
    def needs_redis(self) -> bool:
        return self.settings in REDIS_LAYERS.values()

    @property
    def version(self) -> str:
        if self.package == "twogate":
            from twogate import __version__

            return __version__
        return importlib.metadata.version(self.package)

    @property
    def flags(self) -> str:
        """The flags worth showing: all but where to listen and what to serve."""
        where = {*APPLICATIONS, self.command[0]}
        return " ".join(
            word
            for word in self.command
            if word not in where and not word.startswith(("--bind=", "--port=", "--listen="))
        )

    def does(self, work: str) -> bool:
        """Whether it takes part in ``"sync"``, ``"async"`` or ``"websocket"`` measurements."""
        return self.only in ("", work) and (work == "sync" or "asgi" in self.gates)

    def argv(self, port: int) -> list[str]:
        return [sys.executable, "-m", *(word.format(port=port) for word in self.command)]


def wsgi(name: str, package: str, *command: str) -> Target:
    return Target(name, package, (package, *command, WSGI_APPLICATION), frozenset({"wsgi"}))


def asgi(name: str, package: str, *command: str, only: str = "") -> Target:
    words = (package, *command, ASGI_APPLICATION)
    return Target(name, package, words, frozenset({"asgi"}), only)


def twogate(name: str, *command: str, only: str = "", available: bool = True) -> Target:
    """Both gateways, everything left at its default (the access log goes to a file)."""
    return Target(
        name,
        "twogate",
        ("twogate", "serve", "--bind=127.0.0.1:{port}", *command),
        frozenset({"wsgi", "asgi"}),
        only,
        is_peer=False,
        available=available,
    )


def with_our_handler(target: Target) -> Target:
    """A peer that serves Twogate's handler: what the handler does without our server."""
    return dataclasses.replace(
        target,
        name=f"{target.name} + twogate handler",
        command=(*target.command[:-1], OUR_ASGI_APPLICATION),
        only="async",
        is_peer=False,
        available=hasattr(django_room, "get_asgi_application"),
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


def with_layer(target: Target, name: str, settings: str, *flags: str) -> Target:
    """A server with several worker processes and a channel layer that all of them share."""
    needs = "twogate.realtime" if settings == LOCAL_LAYER else "channels_redis"
    # A flag that comes twice counts as it came last.
    return dataclasses.replace(
        target,
        name=f"{target.name}, {LAYER_WORKERS} workers, {name}",
        command=(*target.command[:-1], f"--workers={LAYER_WORKERS}", *flags, target.command[-1]),
        only="layers",
        available=importlib.util.find_spec(needs) is not None,
        settings=settings,
    )


UVICORN = asgi(
    "uvicorn",
    "uvicorn",
    "--port={port}",
    "--loop=uvloop",
    "--http=httptools",
    "--lifespan=off",
    "--no-access-log",
    "--log-level=error",
)

GRANIAN = asgi(
    "granian ASGI",
    "granian",
    "--interface=asginl",
    "--port={port}",
    "--workers=1",
    "--loop=uvloop",
    "--log-level=error",
)

TWOGATE = twogate("twogate")

TARGETS = (
    TWOGATE,
    twogate("twogate, no access log", "--access-logfile=off"),
    twogate(
        "twogate, stock handler",
        "--stock-handler",
        only="async",
        available=any(option.flag == "--stock-handler" for option in OPTIONS),
    ),
    *(granian_wsgi(threads) for threads in (1, 4, 16, 64)),
    gunicorn("sync", "--worker-class=sync"),
    *(
        gunicorn(f"gthread, {threads} threads", "--worker-class=gthread", f"--threads={threads}")
        for threads in (4, 16, 64)
    ),
    wsgi("waitress", "waitress", "--listen=127.0.0.1:{port}", "--threads=4"),
    GRANIAN,
    UVICORN,
    with_our_handler(UVICORN),
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
        only="websocket",
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
    with_layer(TWOGATE, "local layer", LOCAL_LAYER),
    *(
        with_layer(target, name, settings)
        for target in (TWOGATE, GRANIAN, UVICORN)
        for name, settings in REDIS_LAYERS.items()
    ),
)


def chosen(names: list[str]) -> list[Target]:
    """The installed targets whose name begins with one of ``names`` (all when empty)."""
    return [
        target
        for target in TARGETS
        if target.installed and (not names or target.name.lower().startswith(tuple(names)))
    ]
