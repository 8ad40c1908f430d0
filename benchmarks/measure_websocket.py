"""P6 and P9: a Channels consumer that echoes, alone and while sync pages saturate the worker."""

from __future__ import annotations

import load
from measure import Figures, Measure, Metric, Settings
from measure_http import CONNECTIONS
from processes import Server
from targets import Target

SOCKETS = 50
#: P9 looks at latency, not at load: few sockets, and a pause after each answer.
POLITE_SOCKETS = 4
POLITE_PAUSE = 0.01


def serves_websockets(target: Target) -> bool:
    return "asgi" in target.gates


def echo(server: Server, settings: Settings) -> Figures:
    load.echo(server.port, SOCKETS, min(1.0, settings.seconds))
    return {"rate": load.echo(server.port, SOCKETS, settings.seconds)["rate"]}


def echo_beside_pages(server: Server, settings: Settings) -> Figures:
    """The pages' load begins first and ends last, so that every echo meets a busy worker."""
    around = settings.seconds + 2.0
    pages = load.pages_in_background(server.url("/hello/"), CONNECTIONS, around)
    try:
        seen = load.echo(server.port, POLITE_SOCKETS, settings.seconds, POLITE_PAUSE)
    finally:
        busy = load.finish(pages, around)
    return {"p50": seen["p50"], "p99": seen["p99"], "pages": busy.rate, "failed": busy.failed}


MEASURES = (
    Measure(
        "P6",
        f"Channels echo, {SOCKETS} sockets, 32-byte texts",
        "at least 1.25 times the best peer",
        (Metric("rate", "msg/s"),),
        serves_websockets,
        echo,
        needs_wrk=False,
    ),
    Measure(
        "P9",
        "Echo while `wrk -c32` saturates a sync page of the same worker",
        "p99 at most 0.25 times the best peer's, at 15 times its page rate or more",
        (
            Metric("p50", "ms", lower_is_better=True, ratio=False),
            Metric("p99", "ms", lower_is_better=True),
            Metric("pages", "req/s"),
        ),
        serves_websockets,
        echo_beside_pages,
    ),
)
