"""P6 to P9: Channels consumers that echo, alone and while sync pages saturate the worker, that pass
on what one says to all, and that do nothing but be there."""

from __future__ import annotations

import contextlib
import time

import load
from fanout_client import open_socket
from measure import Figures, Measure, Metric, Settings
from measure_http import CONNECTIONS
from processes import Server, resident
from targets import Target

SOCKETS = 50
#: P9 looks at latency, not at load: few sockets, and a pause after each answer.
POLITE_SOCKETS = 4
POLITE_PAUSE = 0.01
#: P7: how many hear what one says.
CROWDS = (100, 1000)
#: Broadcasts that the client reads at a time.
BATCH = 4
#: P8: enough that what one socket takes is not lost in what a server takes anyway.
IDLE_SOCKETS = 1000
#: Seconds until a server has settled after the last of them was accepted.
SETTLE = 1.0


def serves_websockets(target: Target) -> bool:
    return target.does("websocket")


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


def fan_out(server: Server, settings: Settings) -> Figures:
    """Through consumers on every server, by broadcast where there is one."""
    ways = {"consumers": ("/ws/group/", 1)}
    if not server.target.is_peer:
        ways["broadcast"] = ("/ws/broadcast/", BATCH)
    figures = {}
    busiest = 0.0
    for way, (path, batch) in ways.items():
        for crowd in CROWDS:
            seen = load.fan_out(server.port, path, crowd, settings.seconds, batch)
            figures[f"{way} {crowd}"] = seen["rate"]
            busiest = max(busiest, seen["busy"])
    return {**figures, "client": busiest}


def idle(server: Server, settings: Settings) -> Figures:
    """How much resident memory grows, divided by the sockets; some come first, to warm up."""
    with contextlib.ExitStack() as stack:
        before = 0
        for count in (IDLE_SOCKETS // 20, IDLE_SOCKETS):
            before = resident(server.worker())
            for _ in range(count):
                stack.enter_context(open_socket(server.port, "/ws/echo/"))
            time.sleep(SETTLE)
        return {"memory": (resident(server.worker()) - before) / IDLE_SOCKETS / 1024}


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
        "P7",
        "Group fan-out of 32-byte texts to 100 and 1,000 sockets: through Channels consumers with"
        " the in-memory layer, and by broadcast",
        "at least 1.5 times the best peer by consumers, 15 times by broadcast",
        (
            *(Metric(f"consumers {crowd}", "deliveries/s") for crowd in CROWDS),
            *(
                Metric(f"broadcast {crowd}", "deliveries/s", versus=f"consumers {crowd}")
                for crowd in CROWDS
            ),
            Metric("client", "processors", ratio=False),
        ),
        serves_websockets,
        fan_out,
        needs_wrk=False,
    ),
    Measure(
        "P8",
        f"Resident memory for each of {IDLE_SOCKETS:,} idle WebSockets with a consumer",
        "at most 0.6 times the best peer's",
        (Metric("memory", "KiB", lower_is_better=True),),
        serves_websockets,
        idle,
        every_round=False,
        needs_wrk=False,
        own_server=True,
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
