"""What publishing to a topic costs a sync view, while nobody listens and while one does."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
from collections.abc import Iterator

import load
from measure import Figures, Measure, Metric, Settings
from measure_http import CONNECTIONS, pages_of
from processes import Server
from targets import Target

#: The two views in turn, so often: what one costs more than the other is a small difference.
TURNS = 4
EVENTS = b"GET /events/?topic=bench HTTP/1.1\r\nHost: bench\r\n\r\n"
PATIENCE = 20.0


def publishes(target: Target) -> bool:
    return target.name == "twogate"


@contextlib.contextmanager
def listener(server: Server) -> Iterator[None]:
    """A client of the topic's stream that reads all it is sent."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(EVENTS)
        if not client.recv(4096).startswith(b"HTTP/1.1 200"):
            raise load.LoadError("the stream of events was refused")
        reader = threading.Thread(target=read_all, args=(client,), name="listener")
        reader.start()
        try:
            yield
        finally:
            client.shutdown(socket.SHUT_RDWR)
            reader.join()


def read_all(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while client.recv(262144):
            pass


def compare(server: Server, settings: Settings) -> Figures:
    """Both views in turn saturate the one worker, so the difference of what they take for each
    request is the price of publishing."""
    rates: dict[str, list[float]] = {"hello": [], "publish": []}
    failed = 0.0
    for _ in range(TURNS):
        for name, found in rates.items():
            seen = pages_of(f"/{name}/", server, settings, CONNECTIONS)
            found.append(seen["rate"])
            failed += seen["failed"]
    plain, publishing = (statistics.median(found) for found in rates.values())
    return {
        "plain": plain,
        "cost": 1000 / publishing - 1000 / plain,
        "times": plain / publishing,
        "failed": failed,
    }


def publish(server: Server, settings: Settings) -> Figures:
    """Nobody listens, then one does: the worker's own loop passes each message on."""
    figures = compare(server, settings)
    with listener(server):
        heard = compare(server, settings)
    figures["failed"] += heard["failed"]
    return {**figures, "heard": heard["cost"]}


MEASURES = (
    Measure(
        "publish",
        "A sync view that publishes, beside one that does not; `heard` has one listener to a stream"
        " of events, which the same worker serves",
        "at most 0.1 ms more",
        (
            Metric("plain", "req/s", ratio=False),
            Metric("cost", "ms", lower_is_better=True, ratio=False),
            Metric("times", "of the plain view's time", lower_is_better=True, ratio=False),
            Metric("heard", "ms", lower_is_better=True, ratio=False),
        ),
        publishes,
        publish,
        every_round=False,
    ),
)
