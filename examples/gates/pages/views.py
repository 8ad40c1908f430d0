"""The pages: a sync view, an async view and a streaming view."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from pages.passage import describe

#: Three things a page may wait for, with the seconds each takes.
ERRANDS = {"weather": 0.2, "timetable": 0.3, "exchange rates": 0.4}
#: The stream ends by itself: nobody should pay for a forgotten tab.
TICKS = 30
SECONDS_BETWEEN_TICKS = 1.0


@dataclass(frozen=True, slots=True)
class Errand:
    """One wait, in milliseconds since the view began."""

    name: str
    begin: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.begin


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """An ordinary sync view."""
    return render(request, "pages/home.html")


async def run_errand(name: str, seconds: float, start: float) -> Errand:
    """Wait, and note from when to when."""
    begin = time.perf_counter()
    await asyncio.sleep(seconds)
    return Errand(name, round((begin - start) * 1000), round((time.perf_counter() - start) * 1000))


@require_safe
async def waits(request: HttpRequest) -> HttpResponse:
    """An async view: three waits at once take as long as the longest."""
    start = time.perf_counter()
    errands = await asyncio.gather(*(run_errand(*errand, start) for errand in ERRANDS.items()))
    request.user = await request.auser()  # a template cannot wait for the database
    return render(
        request,
        "pages/waits.html",
        {
            "errands": errands,
            "total": max(errand.end for errand in errands),
            "one_by_one": sum(errand.length for errand in errands),
        },
    )


@require_safe
def ticks(request: HttpRequest) -> HttpResponse:
    """The page that listens to :func:`stream`."""
    return render(request, "pages/ticks.html", {"count": TICKS})


def as_event(data: dict[str, object], name: str = "message") -> str:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def tick_events(gate: str) -> AsyncIterator[str]:
    """A tick each second, then a last event that tells the page not to come back."""
    for number in range(1, TICKS + 1):
        yield as_event({"number": number, "of": TICKS, "gate": gate, "at": time.time()})
        await asyncio.sleep(SECONDS_BETWEEN_TICKS)
    yield as_event({}, "done")


@require_safe
async def stream(request: HttpRequest) -> StreamingHttpResponse:
    """A streaming view: each tick leaves as soon as it is made."""
    return StreamingHttpResponse(
        tick_events(describe(request).gate),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )
