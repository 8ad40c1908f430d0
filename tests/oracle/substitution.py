"""Puts handlers in the place of Django's stock ones, for everything that is imported afterwards.

Runs in the process that runs the suite, before anything has imported ``django.test``: the test
clients and the handlers of static files inherit from what they find under the stock names.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["Substitution", "SubstitutionError"]

#: The name in the module with our handlers, and the stock class whose place that one takes.
PLACES = {
    "Handler": ("django.core.handlers.base", "BaseHandler"),
    "WsgiHandler": ("django.core.handlers.wsgi", "WSGIHandler"),
    "AsgiHandler": ("django.core.handlers.asgi", "ASGIHandler"),
}


class SubstitutionError(Exception):
    """A stock handler would still be used somewhere: the run would prove nothing."""


class Substitution:
    """``Handler``, ``WsgiHandler`` and ``AsgiHandler`` of a module in their stock places.

    Raises :class:`SubstitutionError` if one of them is no heir of the stock class it replaces.
    """

    def __init__(self, module: str) -> None:
        # Ours first: they inherit from the stock classes as these are in a served project.
        handlers = importlib.import_module(module)
        self._pairs = [
            (getattr(importlib.import_module(place), stock), getattr(handlers, ours))
            for ours, (place, stock) in PLACES.items()
        ]
        for stock, ours in self._pairs:
            if stock is ours or not issubclass(ours, stock):
                raise SubstitutionError(f"{ours!r} is no heir of {stock!r}")
            _replace(stock, ours)

    def check(self) -> None:
        """Look whether every class that inherits from a stock handler by now inherits from ours.

        Raises :class:`SubstitutionError` if one was made too early for that, or in another way.
        """
        known = {ancestor for pair in self._pairs for cls in pair for ancestor in cls.__mro__}
        for stock, ours in self._pairs:
            for heir in _heirs(stock):
                if heir not in known and not issubclass(heir, ours):
                    raise SubstitutionError(f"{heir!r} inherits from {stock!r} and not from ours")


def _replace(stock: type[Any], ours: type[Any]) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("django."):
            for attribute in [key for key, value in vars(module).items() if value is stock]:
                setattr(module, attribute, ours)


def _heirs(cls: type[Any]) -> Iterator[type[Any]]:
    for heir in cls.__subclasses__():
        yield heir
        yield from _heirs(heir)
