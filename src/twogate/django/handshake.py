"""The request that a WebSocket began with, as a view would get it: with session and user.

A project's functions are asked with it, so they work for pages and for WebSockets alike. Any
thread; nothing here waits: session and user are looked up when they are asked for.
"""

from __future__ import annotations

import io
from functools import cache, partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.utils.module_loading import import_string

from twogate.django.late import ASGIRequest

__all__ = ["handshake_request"]

_SCHEMES = {"ws": "http", "wss": "https"}


def handshake_request(scope: dict[str, Any]) -> HttpRequest:
    """The request of a WebSocket's scope (ASGI, "WebSocket Connection Scope").

    The middlewares for session and user that the settings name see it; others do not, because they
    may answer. A session or user that the scope has already, by Channels' ``AuthMiddlewareStack``
    for example, is that of the request.
    """
    http = {
        **scope,
        "type": "http",
        "method": "GET",
        "scheme": _SCHEMES.get(scope.get("scheme", "ws"), "http"),
    }
    request = ASGIRequest(http, io.BytesIO())
    for process_request in _middlewares(tuple(settings.MIDDLEWARE)):
        process_request(request)
    if "session" in scope:
        request.session = scope["session"]
    if "user" in scope:
        request.user = user = scope["user"]
        request.auser = partial(_same, user)
    return request


async def _same(user: Any) -> Any:
    return user


@cache
def _middlewares(paths: tuple[str, ...]) -> list[Any]:
    """The hooks of those that look up session and user, in order."""
    found: list[Any] = []
    for path in paths:
        middleware: Any = import_string(path)
        if _looks_up_session_or_user(middleware):
            found.append(middleware(_nothing).process_request)
    return found


def _looks_up_session_or_user(middleware: Any) -> bool:
    if not isinstance(middleware, type):
        return False
    if issubclass(middleware, SessionMiddleware):
        return True
    # Its module imports models, which only a project that has them installed can load.
    if not apps.is_installed("django.contrib.auth"):
        return False
    from django.contrib.auth.middleware import AuthenticationMiddleware

    return issubclass(middleware, AuthenticationMiddleware)


def _nothing(request: HttpRequest) -> None:
    """What middlewares get to call, and do not."""
