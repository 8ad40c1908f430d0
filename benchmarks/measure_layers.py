"""P10: what one says to all in two worker processes: to a group of Channels consumers, by channel
layer, and by broadcast."""

from __future__ import annotations

import load
from measure import Figures, Measure, Metric, Settings
from processes import Server
from targets import LAYER_WORKERS, LOCAL_LAYER, Target

SOCKETS = 100
#: Broadcasts that the client reads at a time.
BATCH = 4


def has_layer(target: Target) -> bool:
    return target.only == "layers"


def fan_out(server: Server, settings: Settings) -> Figures:
    """Each worker has half of the sockets; one of them speaks.

    A broadcast takes no layer: it is measured once, where there is no Redis.
    """
    ways = {"consumers": ("/ws/group/", 1)}
    if server.target.settings == LOCAL_LAYER:
        ways["broadcast"] = ("/ws/broadcast/", BATCH)
    figures = {}
    for way, (path, batch) in ways.items():
        seen = load.fan_out(server.port, path, SOCKETS, settings.seconds, batch, LAYER_WORKERS)
        figures[way] = seen["rate"]
        figures["client"] = max(seen["busy"], figures.get("client", 0.0))
    return figures


MEASURES = (
    Measure(
        "P10",
        f"Fan-out of 32-byte texts to {SOCKETS} sockets in {LAYER_WORKERS} worker processes:"
        " through Channels consumers and a layer, and by broadcast",
        "at least 6 times the best peer with channels_redis, by broadcast",
        (
            Metric("consumers", "deliveries/s"),
            Metric("broadcast", "deliveries/s", versus="consumers"),
            Metric("client", "processors", ratio=False),
        ),
        has_layer,
        fan_out,
        needs_wrk=False,
    ),
)
