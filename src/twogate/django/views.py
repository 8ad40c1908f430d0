"""What code says of itself: a view its name, its gateway and whether it is a coroutine function, a
middleware that it never blocks.

Imports nothing of Django, so that a project's views may import it at any time. Any thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from asgiref.sync import iscoroutinefunction

__all__ = [
    "declared_gateway",
    "declares_nonblocking",
    "gateway",
    "is_async",
    "name_of",
    "nonblocking",
]

_View = TypeVar("_View", bound=Callable[..., Any])

_ATTRIBUTE = "twogate_gateway"

_Declared = TypeVar("_Declared")
_NONBLOCKING = "twogate_nonblocking"


def gateway(name: Literal["wsgi", "asgi"]) -> Callable[[_View], _View]:
    """Serve a view through this gateway, whatever kind of function it is.

    For functions, for classes with ``as_view()``, and through Django's ``method_decorator``::

        @gateway("asgi")
        def events(request): ...

    :param name: ``"wsgi"`` or ``"asgi"``.
    :raises ValueError: there is no such gateway.
    """
    if name not in ("wsgi", "asgi"):
        raise ValueError(f"@gateway({name!r}): the gateway is 'wsgi' or 'asgi'")

    def declare(view: _View) -> _View:
        setattr(view, _ATTRIBUTE, name)
        return view

    return declare


def declared_gateway(view: Any) -> str | None:
    """What :func:`gateway` said of the view or of its class, or ``None``."""
    declared = getattr(view, _ATTRIBUTE, None) or getattr(_class_of(view), _ATTRIBUTE, None)
    if declared is None and isinstance(view, functools.partial):
        return declared_gateway(view.func)
    return declared


def nonblocking(declared: _Declared) -> _Declared:
    """Declare that something never blocks, so that it may run on the event loop.

    For a middleware class (all its hooks), for one hook, and for a receiver of
    ``request_started`` or ``request_finished``::

        @nonblocking
        class Stamp(MiddlewareMixin):
            def process_response(self, request, response): ...
    """
    setattr(declared, _NONBLOCKING, True)
    return declared


def declares_nonblocking(thing: Any) -> bool:
    """Whether :func:`nonblocking` was said of this very class or function: none inherits it."""
    return bool(vars(thing).get(_NONBLOCKING, False))


def is_async(view: Any) -> bool:
    """Whether Django will await the view.

    This is the very question that Django's handlers ask, so that what they would adapt is what we
    take for adapted: ``as_view()`` of class-based views, REST framework's and Ninja's included,
    marks what it returns; a plain wrapper around a coroutine function is not one.
    """
    return bool(iscoroutinefunction(view))


def name_of(view: Any) -> str:
    """The dotted name a developer would look for, for example ``polls.views.index``."""
    if isinstance(view, functools.partial):
        return name_of(view.func)
    operations = _ninja_operations(view)
    if operations:
        return " + ".join(_qualified(operation.view_func) for operation in operations)
    return _qualified(_class_of(view) or view)


def _class_of(view: Any) -> Any:
    # Django's as_view() leaves view_class, REST framework's leaves cls.
    return getattr(view, "view_class", None) or getattr(view, "cls", None)


def _qualified(thing: Any) -> str:
    if not hasattr(thing, "__qualname__"):
        thing = type(thing)
    return f"{thing.__module__}.{thing.__qualname__}"


def _ninja_operations(view: Any) -> list[Any]:
    """Ninja serves several functions (one per method) through a closure of its own."""
    if not getattr(view, "__module__", "").startswith("ninja."):
        return []
    for cell in getattr(view, "__closure__", None) or ():
        operations = getattr(cell.cell_contents, "operations", None)
        if isinstance(operations, list):
            return operations
    return []
