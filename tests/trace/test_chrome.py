"""Chrome's trace format, as its readers want it."""

from __future__ import annotations

import json
from typing import Any

from tests.trace.test_timeline import SEEN, recorded

from twogate.trace.chrome import export
from twogate.trace.timeline import make_run

DOCUMENT: dict[str, Any] = {
    "versions": {"twogate": "1"}, "request": {"method": "GET", "path": "/"},
    "runs": [make_run(name, name, "", recorded(), SEEN) for name in ("wsgi", "asgi")],
}  # fmt: skip


def test_each_span_is_a_complete_event() -> None:
    made = export(DOCUMENT)
    events = [event for event in made["traceEvents"] if event["ph"] == "X"]
    assert len(events) == sum(len(run["spans"]) for run in DOCUMENT["runs"])
    assert {event["pid"] for event in events} == {1, 2}
    for event in events:
        assert event["dur"] >= 0 and event["ts"] >= 0
        assert isinstance(event["tid"], int)
    json.dumps(made, allow_nan=False)


def test_processes_and_threads_are_named() -> None:
    events = export(DOCUMENT)["traceEvents"]
    names = [e["args"]["name"] for e in events if e["ph"] == "M" and e["pid"] == 1]
    assert names == ["wsgi", "MainThread", "thread-1"]


def test_a_crossing_is_an_arrow_between_two_tracks() -> None:
    begin, end = [e for e in export(DOCUMENT)["traceEvents"] if e["ph"] in "sf"][:2]
    assert (begin["ph"], end["ph"], end["bp"]) == ("s", "f", "e")
    assert begin["id"] == end["id"]
    assert begin["tid"] != end["tid"]
    assert begin["ts"] < end["ts"]
