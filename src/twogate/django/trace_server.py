"""A process that serves a project and records each request, told what to do on standard input.

``twogate trace`` starts it: ``python -m twogate.django.trace_server FLAGS``, where FLAGS is a JSON
object of options. Orders and answers are JSON, one to a line; answers go to the descriptor that
was standard output, and what the project prints goes to standard error. One event loop on the main
thread, with Twogate's own server on a loopback port.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import twogate
from twogate.config import Config, resolve
from twogate.dispatch import Applications
from twogate.errors import ProjectError, TwogateError
from twogate.observe.logs import configure
from twogate.observe.observer import Observer
from twogate.server import Server
from twogate.trace.recorder import Recording
from twogate.trace.timeline import plain
from twogate.trace.tracer import Tracer

__all__ = ["Session", "main"]

#: Seconds to wait for what an application does after its response.
_PATIENCE = 5.0


def main(arguments: list[str]) -> int:
    """Serve until standard input ends.

    :param arguments: one JSON object: attribute names and values of options.
    :return: the exit status.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    config = resolve(json.loads(arguments[0]), {})
    configure(config)
    try:
        applications, recordings = _load(config)
        facts = _facts(config)
    except TwogateError as error:
        _say(answers, _complaint(error))
        return 1
    except Exception as error:
        _say(answers, {"error": f"the project cannot be loaded: {type(error).__name__}: {error}"})
        return 1
    # From here on, who started us says when to end: there may be a session to remove.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _say(answers, {"ready": {**facts, "notes": applications.notes}})
    asyncio.run(_Host(config, applications, recordings, answers).obey())
    return 0


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer, default=str) + "\n")
    answers.flush()


def _complaint(error: TwogateError) -> dict[str, Any]:
    if isinstance(error, ProjectError):
        return {"error": error.message, "mend": error.mend}
    return {"error": str(error)}


def _load(config: Config) -> tuple[Applications, Recordings]:
    from twogate.django.explain import explaining
    from twogate.django.project import load

    with explaining("importing Django"):
        from twogate.django import tracing

        tracing.install(stock=config.stock_handler)
    applications = load(config)
    recordings = Recordings()
    tracer = Tracer(recordings.add)
    tracer.record(applications)
    return applications, recordings


def _facts(config: Config) -> dict[str, Any]:
    """What the other process cannot know: names in the settings, and versions."""
    import asgiref
    import django
    from django.conf import settings

    return {
        "versions": {
            "twogate": twogate.__version__, "python": platform.python_version(),
            "django": django.get_version(), "asgiref": asgiref.__version__,
        },
        "settings": os.environ.get("DJANGO_SETTINGS_MODULE", ""),
        "debug": bool(settings.DEBUG),
        "host": _host(list(settings.ALLOWED_HOSTS)),
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "csrf_header": settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-").title(),
        "middleware": list(settings.MIDDLEWARE),
        "random_cookies": [settings.CSRF_COOKIE_NAME, settings.SESSION_COOKIE_NAME],
        "folder": str(Path.cwd()),
    }  # fmt: skip


def _host(allowed: list[str]) -> str:
    """A name that Django lets requests use."""
    from django.http.request import validate_host

    if not allowed or validate_host("localhost", allowed):
        return "localhost"
    return allowed[0].lstrip(".").replace("*", "localhost")


class Recordings:
    """Those that are complete. Any thread."""

    def __init__(self) -> None:
        self._complete: list[Recording] = []
        self._changed = threading.Condition()

    def add(self, recording: Recording) -> None:
        """Add one."""
        with self._changed:
            self._complete.append(recording)
            self._changed.notify()

    def take(self, count: int) -> list[Recording]:
        """So many, waited for; or what there is after a while. The rest is forgotten."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._complete) >= count, _PATIENCE)
            taken = self._complete[:count]
            self._complete.clear()
        return taken


class _Host:
    """Does what it is told, one order at a time."""

    def __init__(
        self,
        config: Config,
        applications: Applications,
        recordings: Recordings,
        answers: TextIO,
    ) -> None:
        self._config = config
        self._applications = applications
        self._recordings = recordings
        self._answers = answers
        self._server: Server | None = None
        self._session: Session | None = None
        self._orders: dict[str, Callable[..., Any]] = {
            "start": self._start, "take": self._take, "login": self._login, "choose": self._choose,
        }  # fmt: skip

    async def obey(self) -> None:
        """Until there are no more orders."""
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            try:
                answer = await self._orders[order.pop("do")](**order)
            except TwogateError as error:
                answer = _complaint(error)
            _say(self._answers, answer)
        await self._stop()
        if self._session is not None:
            await loop.run_in_executor(None, self._session.remove)

    async def _start(self, gateway: str) -> dict[str, Any]:
        """Serve by one gateway, on a new port."""
        await self._stop()
        config = self._config
        config.gateway = gateway
        if getattr(self._applications, gateway) is None:
            raise ProjectError(f"The project has no {gateway.upper()} application.", "")
        listening = socket.create_server(("127.0.0.1", 0))
        self._server = Server(self._applications, config, Observer())
        await self._server.start([listening])
        return {"port": listening.getsockname()[1], "handler": self._handler(gateway)}

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def _handler(self, gateway: str) -> str:
        note = next((n for n in self._applications.notes if n.startswith("handler: ")), "")
        return note.removeprefix("handler: ")

    async def _take(self, count: int) -> dict[str, Any]:
        """The recordings of so many requests, waited for, and forgotten here."""
        loop = asyncio.get_running_loop()
        taken = await loop.run_in_executor(None, self._recordings.take, count)
        return {"recordings": [plain(recording) for recording in taken]}

    async def _choose(self, method: str, path: str) -> dict[str, Any]:
        """The gateway that Twogate would choose, and why."""
        from twogate.protocol.events import RequestHead

        chooser = self._applications.chooser
        if chooser is None:
            return {"gateway": "", "reason": "there is nothing to choose"}
        raw, _, query = path.partition("?")
        choice = chooser(RequestHead(method, raw.encode(), query.encode(), "1.1", []))
        return {"gateway": choice.gateway, "reason": choice.reason}

    async def _login(self, user: str) -> dict[str, Any]:
        """Make a session for a user."""
        loop = asyncio.get_running_loop()
        self._session = await loop.run_in_executor(None, Session, user)
        return {"cookie": [self._session.cookie, self._session.key]}


class Session:
    """A session in which a user is logged in, for the time of a trace.

    :param user: the natural key, which most projects call the user name.
    :raises ProjectError: there is no such user, or no sessions.
    :ivar cookie: the name of the session's cookie.
    :ivar key: its value.
    """

    def __init__(self, user: str) -> None:
        from django.apps import apps
        from django.conf import settings
        from django.db import connections

        for app in ("django.contrib.auth", "django.contrib.sessions"):
            if not apps.is_installed(app):
                raise ProjectError(
                    f"--user needs {app}, which is not in INSTALLED_APPS.",
                    "Add it, or log in by --header 'Cookie: …' or 'Authorization: …'.",
                )
        try:
            self._store = _logged_in(user)
        except ProjectError:
            raise
        except Exception as error:
            raise ProjectError(
                f"The session of {user!r} cannot be made: {type(error).__name__}: {error}",
                "Is the database up, and were the migrations run?",
            ) from error
        finally:
            connections.close_all()
        self.cookie = settings.SESSION_COOKIE_NAME
        self.key = self._store.session_key

    def remove(self) -> None:
        """Delete the session."""
        from django.db import connections

        try:
            self._store.delete()
        except Exception as error:
            print(f"The session of the trace was not removed: {error}", file=sys.stderr)  # noqa: T201
        finally:
            connections.close_all()


def _logged_in(name: str) -> Any:
    from importlib import import_module

    from django.conf import settings
    from django.contrib.auth import (
        BACKEND_SESSION_KEY,
        HASH_SESSION_KEY,
        SESSION_KEY,
        get_user_model,
    )

    model = get_user_model()
    try:
        user = model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise ProjectError(
            f"--user: there is no user {name!r}.",
            "Check the name, or make one with manage.py createsuperuser.",
        ) from None
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    store[SESSION_KEY] = user._meta.pk.value_to_string(user)
    store[BACKEND_SESSION_KEY] = _backend_of(user)
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    return store


def _backend_of(user: Any) -> str:
    """The first authentication backend that knows the user."""
    from django.conf import settings
    from django.contrib.auth import load_backend

    for path in settings.AUTHENTICATION_BACKENDS:
        if load_backend(path).get_user(user.pk) is not None:
            return str(path)
    raise ProjectError(f"--user: no authentication backend accepts {user}.", "Is the user active?")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
