"""P1, P2, P3 and P3b: pages per second, loaded by `wrk -t1 -c32`."""

from __future__ import annotations

import time

import load
from measure import Figures, Measure, Metric, Settings
from processes import Server, answers
from targets import Target

CONNECTIONS = 32
SETTLE_TIMEOUT = 20.0
AT_ONCE = 0.05
RATE = Metric("rate", "req/s")


def serves_pages(target: Target) -> bool:
    return target.does("sync")


def serves_async(target: Target) -> bool:
    return target.does("async")


def pages_of(
    path: str, server: Server, settings: Settings, connections: int = CONNECTIONS
) -> Figures:
    """Warm the server up for a moment, let it finish what that left behind, then load one page."""
    url = server.url(path)
    load.pages(url, connections, min(1.0, settings.seconds))
    settle(server)
    seen = load.pages(url, connections, settings.seconds)
    return {"rate": seen.rate, "failed": seen.failed}


def settle(server: Server) -> None:
    """Wait until a page comes at once: requests whose clients have gone may still be queued."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    begun = time.monotonic()
    while not (answers(server.port) and time.monotonic() - begun < AT_ONCE):
        if time.monotonic() > deadline:
            raise load.LoadError("the server is still busy long after its clients have gone")
        begun = time.monotonic()


def hello(server: Server, settings: Settings) -> Figures:
    return pages_of("/hello/", server, settings)


def hello_async(server: Server, settings: Settings) -> Figures:
    return pages_of("/hello_async/", server, settings)


def sleep_50ms(server: Server, settings: Settings) -> Figures:
    return pages_of("/sleep_50ms/", server, settings)


def sleep_1ms(server: Server, settings: Settings) -> Figures:
    return pages_of("/sleep_1ms/", server, settings)


MEASURES = (
    Measure(
        "P1",
        "Sync view, the seven default middlewares",
        "at least 1.25 times the best peer, and 0.9 times the bare loop",
        (RATE,),
        serves_pages,
        hello,
    ),
    Measure(
        "P2",
        "Async view, the seven default middlewares",
        "at least 20 times the best ASGI peer, all of which run Django's stock handler",
        (RATE,),
        serves_async,
        hello_async,
    ),
    Measure(
        "P3",
        "Sync view that sleeps 50 ms (the ideal is 640 req/s)",
        "at least 0.97 of the ideal, 621 req/s",
        (RATE,),
        serves_pages,
        sleep_50ms,
    ),
    Measure(
        "P3b",
        "Sync view that sleeps 1 ms",
        "at least 1.1 times the best peer",
        (RATE,),
        serves_pages,
        sleep_1ms,
    ),
)
