"""What the default middlewares put on every request and few requests use: made when asked for.

The user, its async twin and the store for messages are the dearest things those middlewares make,
and the first two refer back to the request, which is then garbage that only the collector finds.
With a thousand requests at once that was a third of a worker's time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import django
from django.conf import settings
from django.core.handlers import asgi, wsgi
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

__all__ = ["ASGIRequest", "WSGIRequest", "has_untouched_messages", "stand_in"]

Hook = Callable[..., Any]

#: The versions of Django whose middlewares make just these things.
_KNOWN = frozenset(((5, 2), (6, 0), (6, 1)))


class _Late:
    """An attribute of a request, made when it is first read.

    Not a data descriptor: what is set on the request hides it.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, request: Any, owner: type | None = None) -> Any:
        if request is None:
            return self
        make = request._late.get(self._name)
        if make is None:
            kind = type(request).__name__
            raise AttributeError(f"{kind!r} object has no attribute {self._name!r}")
        value = vars(request)[self._name] = make(request)
        return value


_NOTHING: dict[str, Callable[[HttpRequest], Any]] = {}


class _WithLateParts:
    _late = _NOTHING
    user = _Late()
    auser = _Late()
    _messages = _Late()


class ASGIRequest(_WithLateParts, asgi.ASGIRequest):  # type: ignore[misc]
    """Django's, with late parts."""


class WSGIRequest(_WithLateParts, wsgi.WSGIRequest):  # type: ignore[misc]
    """Django's, with late parts."""


def has_untouched_messages(request: HttpRequest) -> bool:
    """Whether the store for messages has not been asked for, so that it has nothing to say."""
    parts = vars(request)
    return "_messages" not in parts and "_messages" in parts.get("_late", ())


def stand_in(name: str, hook: Hook) -> Hook:
    """What is called in a hook's stead: nearly always the hook itself.

    :param name: of the hook, dotted: module, class and method.
    """
    make = _STAND_INS.get(name)
    return hook if make is None or django.VERSION[:2] not in _KNOWN else make(hook)


def _add(request: Any, **parts: Callable[[Any], Any]) -> None:
    if request._late is _NOTHING:
        request._late = {}
    request._late.update(parts)
    for name in parts:
        vars(request).pop(name, None)  # what others have set gives way, as ever


def _can_wait(request: Any) -> bool:
    # Without a session the original has something to say about the order of middlewares.
    return isinstance(request, _WithLateParts) and hasattr(request, "session")


def _authenticate(process_request: Hook) -> Hook:
    from django.contrib.auth.middleware import auser, get_user

    def make_user(request: HttpRequest) -> Any:
        return SimpleLazyObject(lambda: get_user(request))

    def make_auser(request: HttpRequest) -> Any:
        return partial(auser, request)

    def process(request: HttpRequest) -> None:
        if _can_wait(request):
            _add(request, user=make_user, auser=make_auser)
        else:
            process_request(request)

    return process


def _store_messages(process_request: Hook) -> Hook:
    from django.contrib.messages.storage import default_storage

    def process(request: HttpRequest) -> None:
        # A storage of Django's does nothing when it is made but ask for the session.
        name = str(settings.MESSAGE_STORAGE)
        if name.startswith("django.contrib.messages.storage.") and _can_wait(request):
            _add(request, _messages=default_storage)
        else:
            process_request(request)

    return process


def _keep_messages(process_response: Hook) -> Hook:
    def process(request: HttpRequest, response: Any) -> Any:
        if has_untouched_messages(request):
            return response
        return process_response(request, response)

    return process


_STAND_INS: dict[str, Callable[[Hook], Hook]] = {
    "django.contrib.auth.middleware.AuthenticationMiddleware.process_request": _authenticate,
    "django.contrib.messages.middleware.MessageMiddleware.process_request": _store_messages,
    "django.contrib.messages.middleware.MessageMiddleware.process_response": _keep_messages,
}
