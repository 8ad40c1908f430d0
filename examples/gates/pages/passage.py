"""Which gate a request came in through, told from the request itself and in plain words."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

SENTENCES = {
    ("WSGI", False): "A worker thread took it and was free again once the answer was ready.",
    ("WSGI", True): "Django made an event loop for this one request, which costs time.",
    ("ASGI", False): "The event loop took it and handed it to a thread, which costs time.",
    ("ASGI", True): "The event loop took it and can serve others while this view waits.",
}


@dataclass(frozen=True, slots=True)
class Passage:
    """How one request reached its view."""

    gate: str
    request_class: str
    thread: str
    on_loop: bool
    worker: int

    @property
    def sentence(self) -> str:
        return SENTENCES[self.gate, self.on_loop]


def on_loop() -> bool:
    """Whether this code runs on an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def describe(request: HttpRequest) -> Passage:
    """Look at the request's class and at where we are."""
    gate = "ASGI" if isinstance(request, ASGIRequest) else "WSGI"
    thread = threading.current_thread().name
    return Passage(gate, type(request).__name__, thread, on_loop(), os.getpid())


def passage(request: HttpRequest) -> dict[str, Passage]:
    """A context processor: ``{{ passage }}`` in every template."""
    return {"passage": describe(request)}
