"""Puts Twogate's handlers in the place of Django's stock ones while the entry points are imported.

What ``wsgi.py`` and ``asgi.py`` wrap around them stays as it is. Where somebody has changed how
Django's own handlers work (tracers replace their methods), Django's are left alone: ours would
bypass what was put there.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from django.core.handlers import asgi, base, exception, wsgi

from twogate.django.handler import AsgiHandler, WsgiHandler
from twogate.django.rules import steps_aside

__all__ = ["describe", "handlers_in_place", "stranger", "uses_ours"]

_HANDLERS = Path(base.__file__).parent

#: The methods of Django that ours stand for.
_REPLACED: tuple[tuple[Any, str], ...] = (
    (base.BaseHandler, "load_middleware"),
    (base.BaseHandler, "get_response"),
    (base.BaseHandler, "get_response_async"),
    (base.BaseHandler, "_get_response_async"),
    (exception, "convert_exception_to_response"),
    (wsgi.WSGIHandler, "__call__"),
    (asgi.ASGIHandler, "__call__"),
    (asgi.ASGIHandler, "handle"),
    (asgi.ASGIHandler, "read_body"),
    (asgi.ASGIHandler, "send_response"),
)

#: Where entry points get a handler from.
_PLACES = (
    ("django.core.wsgi", "WSGIHandler", WsgiHandler),
    ("django.core.handlers.wsgi", "WSGIHandler", WsgiHandler),
    ("django.core.asgi", "ASGIHandler", AsgiHandler),
    ("django.core.handlers.asgi", "ASGIHandler", AsgiHandler),
)


def stranger() -> str | None:
    """Who has replaced a method of Django's handlers: the name of a top-level package, or ``None``
    when they are as Django wrote them."""
    for owner, name in _REPLACED:
        method = getattr(owner, name)
        if not isinstance(method, FunctionType):
            return type(method).__module__.partition(".")[0]
        if Path(method.__code__.co_filename).parent != _HANDLERS:
            return _package_of(method)
    return None


def _package_of(method: FunctionType) -> str:
    # functools.wraps makes a wrapper say that it is Django's; its globals do not lie.
    return str(method.__globals__.get("__name__", "unknown")).partition(".")[0]


@contextmanager
def handlers_in_place(wanted: bool = True) -> Iterator[None]:
    """Whoever asks Django for a handler within the block gets ours.

    :param wanted: false leaves Django's.
    """
    if not wanted or steps_aside() or stranger() is not None:
        yield
        return
    modules = [(importlib.import_module(module), name) for module, name, _ in _PLACES]
    stock = [getattr(module, name) for module, name in modules]
    try:
        for (module, name), (_, _, ours) in zip(modules, _PLACES, strict=True):
            setattr(module, name, ours)
        yield
    finally:
        for (module, name), handler in zip(modules, stock, strict=True):
            setattr(module, name, handler)


def uses_ours(application: Any) -> bool:
    """Whether an application, or its HTTP side, is one of Twogate's handlers."""
    mapping = getattr(application, "application_mapping", None)
    http = mapping.get("http") if isinstance(mapping, dict) else application
    return isinstance(http, WsgiHandler | AsgiHandler)


def describe(wanted: bool, applications: list[Any]) -> str:
    """For the start-up message: whose handlers are in use, and why if they are Django's own.

    :param wanted: false when ``--stock-handler`` was given.
    :param applications: those that were loaded.
    """
    if not wanted:
        return "Django's own (--stock-handler)"
    if steps_aside():
        return "Django's own, which is as good since this version"
    package = stranger()
    if package is not None:
        return f"Django's own, because {package} has changed it"
    if not all(map(uses_ours, applications)):
        return "Twogate's, where the entry points use Django's"
    return "Twogate's, in the place of Django's"
