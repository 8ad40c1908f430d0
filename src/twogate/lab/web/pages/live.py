"""Live: chat, a bell and streams in two windows, and what the server recorded of them.

The addresses below ``room/`` are recorded; what shows the recordings is not.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.http import require_safe
from django.views.static import serve

import twogate
from twogate.lab.web import learners, safety
from twogate.lab.web.answers import Refused, takes_json
from twogate.lab.web.windows import ROOMS, room_of, send, topic_of
from twogate.trace.live_page import POLICY
from twogate.trace.page import render as render_trace

__all__ = ["urlpatterns"]

#: Pieces of a stream, and seconds between two of them.
PIECES, PAUSE = 8, 0.3
#: Who is in the windows before somebody else is.
_PEOPLE = (("ada", "Ada"), ("lin", "Lin"))


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The page: two windows, and beneath them what was recorded."""
    room = room_of(learners.ensure(request))
    people = [{"who": who, "name": name} for who, name in _PEOPLE]
    shown = {"room": room, "people": people, "code": _code()}
    return render(request, "lab/live/live.html", shown)


@functools.cache
def _code() -> list[dict[str, str]]:
    """The functions at work, as they are."""
    from twogate.lab.web.sockets import Talk

    parts = {
        "The sync views: they publish, and know no WebSocket": (say, ring),
        "What both ways call": (send,),
        "The consumer": (Talk.receive,),
        "The streams": (_apieces, _pieces),
    }
    return [
        {"title": title, "text": "\n\n".join(map(_source, functions))}
        for title, functions in parts.items()
    ]


def _source(function: Any) -> str:
    return inspect.cleandoc("\n" + inspect.getsource(inspect.unwrap(function)))


# The windows. What follows is recorded.


@require_safe
def window(request: HttpRequest, room: str) -> HttpResponse:
    """One window, of the person that the address names."""
    shown = {
        "room": room,
        "topic": topic_of(room),
        "who": request.GET.get("who") or "guest",
        "name": request.GET.get("name") or "Guest",
    }
    response = render(request, "lab/live/window.html", shown)
    response.headers["Content-Security-Policy"] = safety.policy(request, frame_ancestors="'self'")
    return response


@takes_json
def say(request: HttpRequest, data: dict[str, Any], room: str) -> dict[str, Any]:
    """A sync view that says something to all windows."""
    return _send(room, "say", data)


@takes_json
def ring(request: HttpRequest, data: dict[str, Any], room: str) -> dict[str, Any]:
    """A sync view that rings in the other windows."""
    return _send(room, "ring", data)


def _send(room: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"published": send(room, kind, "a sync view", data)["key"]}
    except ValueError as error:
        raise Refused(str(error)) from None


@require_safe
async def stream(request: HttpRequest, room: str) -> StreamingHttpResponse:
    """A response that takes its time, from an async view."""
    return _streaming(_apieces())


@require_safe
def sync_stream(request: HttpRequest, room: str) -> StreamingHttpResponse:
    """The same from a sync view, which keeps its thread."""
    return _streaming(_pieces())


async def _apieces() -> AsyncIterator[str]:
    for number in range(1, PIECES + 1):
        await asyncio.sleep(PAUSE)
        yield _piece(number)


def _pieces() -> Iterator[str]:
    for number in range(1, PIECES + 1):
        time.sleep(PAUSE)
        yield _piece(number)


def _piece(number: int) -> str:
    made = {"piece": number, "of": PIECES, "thread": threading.current_thread().name}
    return json.dumps(made) + "\n"


def _streaming(pieces: Iterator[str] | AsyncIterator[str]) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces, content_type="application/x-ndjson")


# What was recorded.


@require_safe
def traces(request: HttpRequest, room: str) -> HttpResponse:
    """The last requests of a room."""
    rows = ROOMS.rows(room)
    begin = reverse("live-window", args=[room])
    for row in rows:
        row["path"] = "/" + row["path"].removeprefix(begin)
    return JsonResponse({"rows": rows})


@require_safe
def trace(request: HttpRequest, room: str, number: int) -> HttpResponse:
    """One of them, with its timeline."""
    document = ROOMS.document(room, number)
    if document is None:
        raise Http404
    response = HttpResponse(render_trace(document))
    response.headers["Content-Security-Policy"] = POLICY
    return response


urlpatterns = [
    path("", live, name="live"),
    path("room/<room:room>/", window, name="live-window"),
    path("room/<room:room>/say/", say, name="live-say"),
    path("room/<room:room>/ring/", ring, name="live-ring"),
    path("room/<room:room>/stream/", stream, name="live-stream"),
    path("room/<room:room>/sync-stream/", sync_stream, name="live-sync-stream"),
    path("traces/<room:room>/", traces, name="live-traces"),
    path("traces/<room:room>/<int:number>/", trace, name="live-trace"),
    path(
        "live.js",
        serve,
        {"path": "live.js", "document_root": Path(twogate.__file__).parent / "static" / "twogate"},
        name="live-client",
    ),
]
