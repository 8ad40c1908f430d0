"""A run of the trace document, made of a recording and of what the client saw."""

from __future__ import annotations

import json
from typing import Any

from twogate.trace.recorder import Crossing, Recording, Span
from twogate.trace.timeline import make_run, plain


def recorded() -> dict[str, Any]:
    """A request of 1,000 µs with a view in a thread and a query in it."""
    recording = Recording()
    root = Span(recording, None, "request", "GET /")
    root.start, root.end = 1_000_000, 2_000_000
    crossing = Crossing(root, "to_thread", "page", ("view", "pages.page"))
    crossing.start, crossing.begun, crossing.returned, crossing.end = (
        1_100_000, 1_200_000, 1_700_000, 1_800_000,
    )  # fmt: skip
    crossing.to_thread = "thread-1"
    view = Span(recording, crossing, "view", "pages.page", ("views.py", 3))
    view.start, view.end = 1_200_000, 1_700_000
    query = Span(recording, view, "query", "SELECT 1")
    query.start = 1_300_000  # and never ended
    recording.count("queries")
    recording.facts.update(gateway="asgi", reason="async view", status=200, body_sent=5)
    return plain(recording)


SEEN = {
    "sent": 900_000, "ended": 2_100_000, "bytes_in": 60, "bytes_out": 300,
    "response": {"status": 200, "reason": "OK", "headers": [["Content-Type", "text/html"]],
                 "cookies": {}, "body_bytes": 5, "body_preview": "hello"},
}  # fmt: skip


def test_times_are_microseconds_from_the_begin() -> None:
    run = make_run("asgi", "ASGI", "Twogate's", recorded())
    spans = {span["name"]: span for span in run["spans"]}
    assert run["duration_us"] == 1000
    assert (spans["pages.page"]["start_us"], spans["pages.page"]["end_us"]) == (200, 700)
    assert (spans["pages.page"]["file"], spans["pages.page"]["line"]) == ("views.py", 3)
    assert "file" not in spans["GET /"]


def test_the_client_adds_the_time_before_and_after() -> None:
    run = make_run("asgi", "ASGI", "Twogate's", recorded(), SEEN)
    assert run["duration_us"] == 1200
    first, arrival = run["spans"][:2]
    assert (first["start_us"], first["end_us"]) == (0, 1200)
    assert (arrival["kind"], arrival["parent"], arrival["end_us"]) == ("protocol", first["id"], 100)
    assert (run["counts"]["bytes_in"], run["counts"]["bytes_out"]) == (60, 300)


def test_crossings_name_their_cause_and_their_cost() -> None:
    (crossing,) = make_run("asgi", "ASGI", "Twogate's", recorded())["crossings"]
    assert crossing["cost_us"] == 200
    assert (crossing["at_us"], crossing["end_us"]) == (100, 800)
    assert (crossing["cause_kind"], crossing["cause"]) == ("view", "pages.page")
    assert (crossing["direction"], crossing["to_thread"]) == ("to_thread", "thread-1")
    assert crossing["cause_span"] == 1 and crossing["span"] == 2


def test_what_was_open_ends_with_the_request_and_says_so() -> None:
    run = make_run("asgi", "ASGI", "Twogate's", recorded())
    query = next(span for span in run["spans"] if span["kind"] == "query")
    assert query["detail"] == {"open": True}
    assert query["end_us"] == 1000


def test_counts_and_the_whole_fit_json() -> None:
    run = make_run("asgi", "ASGI", "Twogate's", recorded())
    assert run["counts"] == {
        "crossings": 1, "queries": 1, "connections_opened": 0, "connections_reused": 0,
        "templates": 0, "threads_started": 0, "bytes_in": 0, "bytes_out": 5,
    }  # fmt: skip
    assert json.loads(json.dumps(run)) == run
