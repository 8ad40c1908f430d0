"""The views: the same work, once for threads and once for the event loop.

Those that take their time answer with the moments of a clock that all processes of this machine
share, with the thread that ran them, and with the processor time it used meanwhile.
"""

import asyncio
import threading
import time

from django.core.exceptions import BadRequest
from django.http import JsonResponse, StreamingHttpResponse
from django.shortcuts import render


def page(request):
    return render(request, "pages/page.html", {"kind": "a sync view"})


async def async_page(request):
    return render(request, "pages/page.html", {"kind": "an async view"})


def slow(request):
    """Sleeps. The thread can do nothing else meanwhile."""
    began = now()
    time.sleep(number(request, "wait", default=0.2, most=10))
    return took(began)


async def async_slow(request):
    """Sleeps. The event loop serves others meanwhile."""
    began = now()
    await asyncio.sleep(number(request, "wait", default=0.2, most=10))
    return took(began)


def compute(request):
    """Keeps a processor busy for some milliseconds."""
    began = now()
    be_busy(number(request, "compute", default=20, most=1000))
    return took(began)


async def async_compute(request):
    """The same on the event loop, which can serve nobody meanwhile."""
    began = now()
    be_busy(number(request, "compute", default=20, most=1000))
    return took(began)


async def stream(request):
    """Each piece leaves as soon as it is there."""
    count = int(number(request, "pieces", default=4, most=100))
    pause = number(request, "pause", default=0.05, most=2)
    return StreamingHttpResponse(pieces(count, pause), content_type="text/plain")


async def pieces(count, pause):
    for piece in range(1, count + 1):
        yield f"piece {piece} of {count}\n"
        if piece < count:
            await asyncio.sleep(pause)


def be_busy(milliseconds):
    """Use so much of a processor's time, however many others want some of it."""
    end = time.thread_time() + milliseconds / 1000
    while time.thread_time() < end:
        sum(range(1000))


def now():
    """The time, and the processor time that this thread has used so far; seconds."""
    return time.monotonic(), time.thread_time()


def took(began):
    ended = now()
    return JsonResponse(
        {
            "thread": threading.current_thread().name,
            "began": began[0],
            "ended": ended[0],
            "busy": ended[1] - began[1],
        }
    )


def number(request, name, default, most):
    """A number from the query, such as ``?wait=0.5``."""
    try:
        value = float(request.GET.get(name, default))
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise BadRequest(f"{name} must be a number from 0 to {most}.")
    return value
