"""P10: a group of Channels consumers in two worker processes, by channel layer."""

from __future__ import annotations

import load
from measure import Figures, Measure, Metric, Settings
from processes import Server
from targets import LAYER_WORKERS, Target

SOCKETS = 100


def has_layer(target: Target) -> bool:
    return target.only == "layers"


def fan_out(server: Server, settings: Settings) -> Figures:
    """Each worker has half of the sockets; one of them speaks."""
    return load.fan_out(
        server.port, "/ws/group/", SOCKETS, settings.seconds, batch=1, workers=LAYER_WORKERS
    )


MEASURES = (
    Measure(
        "P10",
        f"Group fan-out to {SOCKETS} Channels consumers in {LAYER_WORKERS} worker processes",
        "at least 6 times the best peer with channels_redis, by the broadcast path",
        (
            Metric("rate", "deliveries/s"),
            Metric("busy", "processors of the client", ratio=False),
        ),
        has_layer,
        fan_out,
        needs_wrk=False,
    ),
)
