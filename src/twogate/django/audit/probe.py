"""Sends a request through the project's own middleware to a view that does nothing, and counts how
often it crosses between the event loop and a thread.

Nothing is guessed: the handlers are the real ones, Django's and ours; only the view is replaced.
Each probe has a thread, and an event loop, of its own.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asgiref
import django
from asgiref.sync import AsyncToSync, SyncToAsync
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.http import HttpResponse
from django.urls import ResolverMatch

import twogate
from twogate.django.audit.finding import Place
from twogate.django.handler import AsgiHandler, WsgiHandler

__all__ = ["Passage", "Traits", "pass_through", "pass_through_stock"]

#: Seconds after which a probe is given up: a middleware waits for something that does not come.
PATIENCE = 5.0

#: Whose crossings are not the project's: asgiref's, ours and Django's.
_MACHINERY = [Path(str(module.__file__)).parent for module in (asgiref, twogate, django)]


@dataclass(slots=True, frozen=True)
class Traits:
    """What a middleware can see of a view before it runs."""

    is_async: bool
    csrf_exempt: bool = False
    login_required: bool = True

    @classmethod
    def of(cls, view: Any, is_async: bool) -> Traits:
        """Those of a view."""
        return cls(
            is_async,
            bool(getattr(view, "csrf_exempt", False)),
            bool(getattr(view, "login_required", True)),
        )


@dataclass(slots=True)
class Passage:
    """How a request passed.

    :ivar crossings: between event loop and thread, in either direction; each is one.
    :ivar reached: the view was called; else a middleware answered before it.
    :ivar error: what a middleware raised.
    :ivar causes: the line of each crossing that the handler itself did not ask for.
    """

    crossings: int = 0
    reached: bool = False
    status: int = 0
    error: BaseException | None = field(default=None, repr=False)
    causes: list[Place] = field(default_factory=list)

    def cross(self) -> None:
        """Count a crossing that the caller's caller makes."""
        self.crossings += 1
        frame = sys._getframe(2)
        # Within a task, each coroutine's frame leads back to the one that awaits it.
        if not any(folder in Path(frame.f_code.co_filename).parents for folder in _MACHINERY):
            self.causes.append((Path(frame.f_code.co_filename), frame.f_lineno))


@contextmanager
def _counting(passage: Passage) -> Iterator[None]:
    """Count every crossing of this process into ``passage``."""
    to_thread, to_loop = SyncToAsync.__call__, AsyncToSync.__call__

    async def counted(this: Any, *arguments: Any, **keywords: Any) -> Any:
        passage.cross()
        return await to_thread(this, *arguments, **keywords)

    def counted_back(this: Any, *arguments: Any, **keywords: Any) -> Any:
        passage.cross()
        return to_loop(this, *arguments, **keywords)

    SyncToAsync.__call__ = counted  # type: ignore[method-assign,assignment]
    AsyncToSync.__call__ = counted_back  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        SyncToAsync.__call__ = to_thread  # type: ignore[method-assign]
        AsyncToSync.__call__ = to_loop  # type: ignore[method-assign]


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines: what goes wrong becomes a finding."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _view(traits: Traits, passage: Passage) -> Callable[..., Any]:
    """A view that does nothing, with the traits of another."""

    def sync_view(request: Any) -> HttpResponse:
        passage.reached = True
        return HttpResponse("probe")

    async def async_view(request: Any) -> HttpResponse:
        passage.reached = True
        return HttpResponse("probe")

    view: Any = async_view if traits.is_async else sync_view
    view.csrf_exempt, view.login_required = traits.csrf_exempt, traits.login_required
    view._non_atomic_requests = set(connections)  # it needs no database
    return view  # type: ignore[no-any-return]


def _handler(kind: type, view: Callable[..., Any]) -> Any:
    """A handler of a class whose every path leads to this view."""

    class Probing(kind):  # type: ignore[misc]
        _stands_for = getattr(kind, "_stands_for", None)

        def resolve_request(self, request: Any) -> ResolverMatch:
            request.resolver_match = ResolverMatch(view, (), {}, url_name="twogate-check")
            return request.resolver_match

    return Probing()


def pass_through(gateway: str, traits: Traits) -> Passage:
    """A request through the gateway's handler as Twogate serves it.

    :param gateway: ``"wsgi"`` or ``"asgi"``.
    """
    if gateway == "asgi":
        return _patiently(lambda passage: _by_asgi(AsgiHandler, traits, passage))
    return _patiently(lambda passage: _by_wsgi(traits, passage))


def pass_through_stock(traits: Traits) -> Passage:
    """A request through Django's own ASGI handler, as other ASGI servers call it."""
    return _patiently(lambda passage: _by_asgi(ASGIHandler, traits, passage))


#: Threads of probes that were given up. After the first, nobody tries again.
_stuck: list[threading.Thread] = []


def _patiently(send: Callable[[Passage], None]) -> Passage:
    """What comes of a probe, on a thread that is left behind if it never comes back."""
    passage = Passage()

    def run() -> None:
        with _observed(passage):
            send(passage)

    if not _stuck:
        thread = threading.Thread(target=run, name="twogate-check", daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if not thread.is_alive():
            return passage
        _stuck.append(thread)
    return Passage(error=TimeoutError(f"no answer within {PATIENCE:g} s"))


@contextmanager
def _observed(passage: Passage) -> Iterator[None]:
    from django.core.signals import got_request_exception

    def note(**keywords: Any) -> None:
        passage.error = sys.exc_info()[1] or passage.error

    got_request_exception.connect(note)
    try:
        with _quiet():
            yield
    except (Exception, SystemExit) as error:
        passage.error = error
    finally:
        got_request_exception.disconnect(note)


def _by_asgi(kind: type, traits: Traits, passage: Passage) -> None:
    handler = _handler(kind, _view(traits, passage))

    async def receive() -> dict[str, Any]:
        if not received:
            received.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def send(message: dict[str, Any]) -> None:
        passage.status = message.get("status", passage.status)

    async def run() -> None:
        with _counting(passage):
            await handler(_scope(), receive, send)

    received: list[bool] = []
    asyncio.run(run())


def _by_wsgi(traits: Traits, passage: Passage) -> None:
    handler = _handler(WsgiHandler, _view(traits, passage))

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        passage.status = int(status[:3])

    with _counting(passage):
        response = handler(_environ(), start_response)
        for _ in response:
            pass
        response.close()


def _host() -> str:
    """A host name that the project answers to."""
    for host in settings.ALLOWED_HOSTS:
        if host != "*":
            return f"www{host}" if host.startswith(".") else str(host)
    return "localhost"


def _scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",  # else a redirect to it is all that one sees
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", _host().encode("latin-1")), (b"user-agent", b"twogate-check")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 443),
        "extensions": {},
    }


def _environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": _host(),
        "HTTP_USER_AGENT": "twogate-check",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
