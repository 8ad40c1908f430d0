"""Answers a case with a handler, and notes all that can be noticed of it.

Chance and the time of day are the same for all: a seeded generator stands for the system's, and the
clock stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import gzip
import io
import logging
import pickle
import random
import re
import secrets
import shutil
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote

import django
from django.core import signals
from django.test import override_settings

from tests.support.settings import configure
from tests.support.twins.cases import SESSION_KEY, Case, Request
from tests.support.twins.site import EVENTS, TRAIL, TRICKS, note, note_end

__all__ = ["Answer", "Outcome", "Project"]

_NOW = 1_700_000_000.0

_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
    "django.contrib.sessions", "django.contrib.sites", "django.contrib.redirects",
    "django.contrib.flatpages",
]  # fmt: skip

_TEMPLATES = {
    "page.html": "{{ who }} {% csrf_token %}{{ user }} {{ LANGUAGE_CODE }} {{ request.path }}"
    "{% for message in messages %}{{ message }}{% endfor %}",
    "broken.html": "{{ 1|unknown }}",
    "flatpages/default.html": "{{ flatpage.title }} {{ user }}",
    "404.html": "no page {{ request_path }}",
    "500.html": "an error",
    "login.html": "log in",
}


@dataclass
class Answer:
    """The answer to one request.

    :ivar failure: what left the handler instead of an answer, or in the middle of it.
    """

    status: Any = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    failure: str = ""
    events: list[tuple[Any, ...]] = field(default_factory=list)


@dataclass
class Outcome:
    """What a handler made of a case.

    :ivar loading: what was noted while the middleware was loaded.
    :ivar sessions: the sessions that are stored afterwards, by key.
    :ivar cached: the keys in the caches afterwards.
    :ivar mails: the subjects of mails.
    :ivar users: the names of the users that exist afterwards.
    """

    loading: list[Any] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    sessions: dict[str, Any] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)


class Project:
    """The project on disk, and handlers to answer with.

    :param folder: empty; for its database, its caches and its session files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runner = asyncio.Runner()
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Project:
        configure()
        try:
            self._exits.enter_context(self._database())
            self._exits.enter_context(override_settings(**self._settings()))
            self._exits.enter_context(_standing_still())
            _make_tables()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._runner.close()
        _close_pools()
        # Django's handlers leave the file of a request's body open where an exception leaves them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        self._exits.close()

    @contextlib.contextmanager
    def _database(self) -> Iterator[None]:
        """Put a file in the place of the database of the test process.

        This thread's connection is laid aside, not closed: Django does not close a database in
        memory, and would go on to use it.
        """
        from django.db import connections

        kept, before = connections["default"], connections.settings["default"]
        del connections["default"]
        connections.settings["default"] = {
            **before,
            "NAME": str(self.folder / "db.sqlite3"),
            "OPTIONS": {"init_command": "PRAGMA synchronous=OFF", "timeout": 20},
        }
        try:
            yield
        finally:
            connections["default"].close()
            connections["default"], connections.settings["default"] = kept, before

    def _settings(self) -> dict[str, Any]:
        mail = "django.core.mail.backends.locmem.EmailBackend"
        newest = django.VERSION >= (6, 1)
        return {
            "INSTALLED_APPS": _APPS,
            "ALLOWED_HOSTS": ["testserver", "www.testserver"],
            "AUTHENTICATION_BACKENDS": [
                "django.contrib.auth.backends.ModelBackend",
                "django.contrib.auth.backends.RemoteUserBackend",
            ],
            "LANGUAGE_CODE": "en-us",
            "LANGUAGES": [("en", "English"), ("de", "German"), ("fr", "French")],
            "MANAGERS": ["manager@example.org"] if newest else [("M", "manager@example.org")],
            **({"MAILERS": {"default": {"BACKEND": mail}}} if newest else {"EMAIL_BACKEND": mail}),
            "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
            "SESSION_FILE_PATH": str(self._emptied("sessions")),
            "CACHES": {
                "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
                "files": {
                    "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                    "LOCATION": str(self._emptied("cache")),
                },
            },
            "TEMPLATES": [_template_engine()],
        }

    def _emptied(self, name: str) -> Path:
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    # Answering.

    def asgi(self, kind: type, case: Case) -> Outcome:
        """What a handler for ASGI makes of a case."""

        def ask(handler: Any, request: Request, answer: Answer) -> None:
            # Each request in a context of its own, as if it were the first.
            self._runner.run(
                _ask_asgi(handler, request, answer), context=contextvars.copy_context()
            )

        return self._answer(kind, case, ask)

    def wsgi(self, kind: type, case: Case) -> Outcome:
        """What a handler for WSGI makes of a case."""
        return self._answer(kind, case, _ask_wsgi)

    def _answer(
        self, kind: type, case: Case, ask: Callable[[Any, Request, Answer], None]
    ) -> Outcome:
        return contextvars.copy_context().run(self._answer_here, kind, case, ask)

    def _answer_here(
        self, kind: type, case: Case, ask: Callable[[Any, Request, Answer], None]
    ) -> Outcome:
        outcome = Outcome()
        _seed()
        EVENTS.clear()
        TRICKS.clear()
        TRICKS.update(case.tricks)
        module = _urlconf(case.urlconf)
        with (
            override_settings(MIDDLEWARE=case.middleware, ROOT_URLCONF=module, **case.settings),
            _noting(case.listening),
            warnings.catch_warnings(),
        ):
            # What Django warns of is not compared: a stream that it would collect, for example.
            warnings.simplefilter("ignore")
            jar = {"sessionid": self._restart()}
            handler = kind()
            outcome.loading = _taken()
            for request in case.requests:
                answer = Answer()
                TRAIL.set(())
                ask(handler, _with_cookies(request, jar), answer)
                answer.events = _taken()
                _keep_cookies(jar, answer)
                _normalise(answer)
                outcome.answers.append(answer)
            self._look_after(outcome)
        return outcome

    @contextlib.contextmanager
    def begun(self, **settings: Any) -> Iterator[None]:
        """The project in its first state, in this context."""
        with override_settings(ROOT_URLCONF=_urlconf("plain"), **settings):
            self._restart()
            yield

    def _restart(self) -> str:
        """The same state each time; returns the cookie of the session that exists."""
        from importlib import import_module

        from django.conf import settings
        from django.contrib.auth.models import User
        from django.contrib.sessions.backends.file import SessionStore as FileStore
        from django.contrib.sessions.models import Session
        from django.contrib.sites.models import Site
        from django.core import mail
        from django.core.cache import caches
        from django.db import connection
        from django.urls import set_script_prefix, set_urlconf
        from django.utils import translation

        translation.deactivate()
        vars(translation._trans).clear()  # or USE_I18N would be what it was at first
        set_script_prefix("/")
        set_urlconf(None)
        Session.objects.all().delete()
        User.objects.exclude(username="known").delete()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'auth_user'")
        for alias in ("default", "files"):
            caches[alias].clear()
        self._emptied("sessions")
        FileStore._storage_path = str(self.folder / "sessions")  # it keeps the first it sees
        Site.objects.clear_cache()
        mail.outbox = []
        user = User.objects.get()
        if not settings.SESSION_ENGINE.startswith("django."):
            return ""
        store = import_module(settings.SESSION_ENGINE).SessionStore(SESSION_KEY)
        data = {
            "visits": 1,
            "_auth_user_id": str(user.pk),
            "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
            "_auth_user_hash": user.get_session_auth_hash(),
        }
        store._session_cache = data
        store.save(must_create="signed" not in settings.SESSION_ENGINE)
        if settings.SESSION_ENGINE.endswith((".db", ".cached_db", ".file", ".cache")):
            # It is created empty.
            store._session_cache = data
            store.save()
        return str(store.session_key)

    def _look_after(self, outcome: Outcome) -> None:
        from django.contrib.auth.models import User
        from django.contrib.sessions.backends.db import SessionStore as DbStore
        from django.contrib.sessions.backends.file import SessionStore as FileStore
        from django.contrib.sessions.models import Session
        from django.core import mail
        from django.core.cache import caches

        for session in Session.objects.all():
            outcome.sessions[session.session_key] = DbStore().decode(session.session_data)
        for file in (self.folder / "sessions").iterdir():
            outcome.sessions[file.name] = FileStore().decode(file.read_text())
        memory = caches["default"]
        outcome.cached = sorted(memory._cache)
        for key, value in memory._cache.items():
            if "sessions" in key:
                outcome.sessions[key] = pickle.loads(value)
        outcome.cached += sorted(f.name for f in (self.folder / "cache").iterdir())
        outcome.mails = [sent.subject for sent in mail.outbox]
        outcome.users = sorted(User.objects.values_list("username", flat=True))


def _taken() -> list[tuple[Any, ...]]:
    taken = list(EVENTS)
    EVENTS.clear()
    return taken


def _template_engine() -> dict[str, Any]:
    processors = ("template.context_processors.request", "template.context_processors.i18n",
                  "contrib.auth.context_processors.auth",
                  "contrib.messages.context_processors.messages")  # fmt: skip
    return {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [("django.template.loaders.locmem.Loader", _TEMPLATES)],
            "context_processors": [f"django.{name}" for name in processors],
        },
    }


def _make_tables() -> None:
    from django.apps import apps
    from django.contrib.auth.models import User
    from django.contrib.flatpages.models import FlatPage
    from django.contrib.redirects.models import Redirect
    from django.contrib.sites.models import Site
    from django.db import connection

    with connection.schema_editor() as editor:
        for model in apps.get_models():
            editor.create_model(model)
    User.objects.create_user("known", is_staff=True)
    site = Site.objects.create(pk=1, domain="testserver", name="testserver")
    flat = FlatPage.objects.create(url="/flat/", title="A flat page")
    flat.sites.add(site)
    Redirect.objects.create(site=site, old_path="/old/", new_path="/page/")
    Redirect.objects.create(site=site, old_path="/gone/", new_path="")


def _close_pools() -> None:
    """End the threads of our loop, which nobody else would before the next loop."""
    from twogate.django import executors

    for loop in [loop for loop in executors._pools if loop.is_closed()]:
        executors._pools.pop(loop).close()


_urlconfs: dict[str, types.ModuleType] = {}


def _urlconf(name: str) -> types.ModuleType:
    from tests.support.twins import site

    if name not in _urlconfs:
        module = _urlconfs[name] = types.ModuleType(f"urls_{name}")
        module.urlpatterns = site.patterns(name == "prefixed")  # type: ignore[attr-defined]
        if name == "broken":
            module.handler500 = site.broken_handler500  # type: ignore[attr-defined]
            module.handler404 = site.late_handler404  # type: ignore[attr-defined]
    return _urlconfs[name]


# What is the same for all.

_random = random.Random()


def _seed() -> None:
    _random.seed(1)


@contextlib.contextmanager
def _standing_still() -> Iterator[None]:
    now = datetime.fromtimestamp(_NOW, UTC)
    with (
        mock.patch.object(secrets, "choice", _random.choice),
        mock.patch.object(secrets, "randbelow", _random.randrange),
        mock.patch.object(secrets, "token_urlsafe", lambda size: _random.randbytes(size).hex()),
        mock.patch.object(time, "time", lambda: _NOW),
        mock.patch("django.utils.timezone.now", lambda: now),
    ):
        yield


# What is noted.


class _Records(logging.Handler):
    """Notes log records of Django's, where they are made."""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("django.request", "django.security")):
            return
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        note("log", record.name, record.levelname, record.getMessage(),
             getattr(record, "status_code", None), type(error).__name__)  # fmt: skip


def _started(sender: Any, **named: Any) -> None:
    note("signal", "request_started", sender, sorted(set(named) - {"signal"}))


def _finished(sender: Any, **named: Any) -> None:
    note_end("signal", "request_finished", sender, sorted(set(named) - {"signal"}))


async def _astarted(sender: Any, **named: Any) -> None:
    _started(sender, **named)


async def _afinished(sender: Any, **named: Any) -> None:
    _finished(sender, **named)


def _failed(sender: Any, request: Any, **named: Any) -> None:
    note("signal", "got_request_exception", sender, request.path)


@contextlib.contextmanager
def _noting(listening: str) -> Iterator[None]:
    started, finished = (_astarted, _afinished) if listening == "async" else (_started, _finished)
    handler, logger = _Records(), logging.getLogger("django")
    level, handlers, propagates = logger.level, logger.handlers, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.handlers, logger.propagate = [handler], False
    signals.got_request_exception.connect(_failed)
    if listening:
        signals.request_started.connect(started)
        signals.request_finished.connect(finished)
    try:
        yield
    finally:
        signals.got_request_exception.disconnect(_failed)
        signals.request_started.disconnect(started)
        signals.request_finished.disconnect(finished)
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagates


# Asking.


def _with_cookies(request: Request, jar: dict[str, str]) -> Request:
    """The request with the cookies that the visitor keeps, unless it says otherwise."""
    cookies = {name: value for name, value in jar.items() if name != "sessionid"}
    if jar.get("answered"):
        cookies["sessionid"] = jar["sessionid"]
    cookies.pop("answered", None)
    for name, value in request.cookies:
        cookies[name] = jar["sessionid"] if (name, value) == ("sessionid", "known") else value
    if not cookies:
        return request
    said = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return Request(**{**vars(request), "headers": (*request.headers, ("cookie", said))})


def _keep_cookies(jar: dict[str, str], answer: Answer) -> None:
    for name, value in answer.headers:
        if name == "Set-Cookie":
            for key, morsel in SimpleCookie(value).items():
                jar[key] = morsel.coded_value
                if key == "sessionid":
                    jar["answered"] = "yes"


async def _ask_asgi(handler: Any, request: Request, answer: Answer) -> None:
    body = request.body or b""
    half = len(body) // 2
    incoming = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    ][0 if half else 1 :]

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(n.decode(), v.decode("latin-1")) for n, v in message["headers"]]
        else:
            answer.body += message.get("body", b"")

    headers = [(name.encode(), value.encode()) for name, value in request.headers]
    if request.body is not None:
        headers.append((b"content-length", str(len(body)).encode()))
    scope = {
        "type": "http", "method": request.method, "path": unquote(request.path),
        "raw_path": request.path.encode(), "query_string": request.query.encode(),
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("testserver", 80),
        "http_version": "1.1", "scheme": request.scheme, "root_path": "",
    }  # fmt: skip
    try:
        await handler(scope, receive, send)
    except Exception as error:
        answer.failure = f"{type(error).__name__}({error})"


def _ask_wsgi(handler: Any, request: Request, answer: Answer) -> None:
    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        answer.status, answer.headers = status, [(n, v.strip()) for n, v in headers]

    body = request.body or b""
    environ = {
        "REQUEST_METHOD": request.method, "SCRIPT_NAME": "", "PATH_INFO": unquote(request.path),
        "QUERY_STRING": request.query, "REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "testserver",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr, "wsgi.version": (1, 0),
        "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    if request.body is not None:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        if key in ("CONTENT_TYPE", "REMOTE_USER"):
            environ[key] = value
        else:
            environ[f"HTTP_{key}"] = value
    try:
        pieces = handler(environ, start_response)
        try:
            answer.body = b"".join(pieces)
        finally:
            pieces.close()
    except Exception as error:
        answer.failure = f"{type(error).__name__}({error})"


# What cannot be the same: tracebacks go through other code.

_REPORT = b"<h2>Traceback"


def _normalise(answer: Answer) -> None:
    if answer.failure:
        # An exception that leaves the handler: ours cleans up and says that the request is over,
        # where Django's ASGIHandler leaves its connections to whoever comes next.
        answer.events = [e for e in answer.events if e[1] not in ("request_finished", "close")]
    headers = dict(answer.headers)
    body = answer.body
    if headers.get("Content-Encoding") == "gzip" and body:
        with contextlib.suppress(OSError, EOFError):
            body = gzip.decompress(body)
    if _REPORT not in body and b"Traceback (most recent call last)" not in body:
        return
    title = re.search(rb"<title>.*?</title>", body, re.DOTALL)
    chained = body.count(b"During handling of the above exception")
    answer.body = b"report of %s, chained %d" % (title[0] if title else b"", chained)
    varying = ("Content-Length", "ETag")
    answer.headers = [(n, "-" if n in varying else v) for n, v in answer.headers]
