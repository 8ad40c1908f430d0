"""Makes a run of the trace document of a recording: spans, crossings, tables and moments.

:func:`plain` is a recording as JSON, in nanoseconds of the monotonic clock, which all processes of
a machine share; :func:`make_run` puts it beside what the client saw. ``docs/design/0014-traces.md``
describes the document. Knows no Django, does no input or output.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from twogate.trace.recorder import Crossing, Recording, Span
from twogate.trace.story import moments, table, variables

__all__ = ["FORMAT", "Plain", "discreet", "make_run", "plain"]

FORMAT = "twogate-trace/1"

#: What fits JSON.
Plain: TypeAlias = dict[str, Any]

#: Headers whose values open doors.
_SECRET = frozenset(("cookie", "authorization", "proxy-authorization", "x-csrftoken"))

_COUNTS = (
    "crossings", "queries", "connections_opened", "connections_reused", "templates",
    "threads_started", "bytes_in", "bytes_out",
)  # fmt: skip


def plain(recording: Recording) -> Plain:
    """A recording as it travels between processes; it may still be under way."""
    known = dict(recording.facts)
    facts = {k: v for k, v in known.items() if k not in ("connections", "opened")}
    return {
        "spans": [_plain_span(found) for found in list(recording.spans)],
        "counts": {**recording.counts, "crossings": recording.crossings},
        "facts": facts,
        "left_out": recording.left_out,
    }


def discreet(headers: list[list[str]]) -> list[list[str]]:
    """A request's headers without the values that would let others in."""
    return [[name, "…" if name.lower() in _SECRET else value] for name, value in headers]


def _plain_span(span: Span) -> Plain:
    file, line = span.place or (None, None)
    made: Plain = {
        "id": span.id, "parent": span.parent.id if span.parent is not None else None,
        "kind": span.kind, "name": span.name, "start": span.start, "end": span.end,
        "thread": span.thread, "task": span.task, "sync": span.task is None,
        "file": file, "line": line, "detail": span.detail,
    }  # fmt: skip
    if isinstance(span, Crossing):
        made["crossing"] = {
            "direction": span.direction, "cost": span.cost, "cause": list(span.cause),
            "to_thread": span.to_thread, "begun": span.begun, "returned": span.returned,
        }  # fmt: skip
    return made


def make_run(
    identity: str, title: str, handler: str, recorded: Plain, seen: Plain | None = None
) -> Plain:
    """One run of the document.

    :param identity: ``"wsgi"``, ``"asgi-stock"``, ``"asgi"``, ``"ws-asgi"`` or ``"ws-wsgi"``.
    :param handler: whose handler served it.
    :param recorded: see :func:`plain`.
    :param seen: what the client saw: ``sent`` and ``ended`` in nanoseconds, ``response``,
        ``bytes_in``, ``bytes_out`` and perhaps ``arrivals``; ``None`` where the client is a
        stranger.
    """
    spans = [dict(span) for span in recorded["spans"]]
    root = spans[0]
    _end_all(spans)
    if seen is not None:
        _add_client(spans, root, seen)
    base = root["start"]
    crossings = [
        _crossing(number, span, spans, base)
        for number, span in enumerate((s for s in spans if "crossing" in s), 1)
    ]
    facts = recorded["facts"]
    run: Plain = {
        "id": identity,
        "title": title,
        "gateway": facts.get("gateway", ""),
        "reason": facts.get("reason", ""),
        "handler": handler,
        "response": seen["response"] if seen is not None else _response_of(facts),
        "duration_us": _us(root["end"] - base),
        "spans": [_relative(span, base) for span in spans],
        "left_out": recorded["left_out"],
        "crossings": crossings,
        "counts": _counts(recorded, seen),
    }
    if facts.get("error"):
        run["error"] = facts["error"]
    if seen is not None and "arrivals" in seen:
        run["arrivals"] = [
            {"at_us": _us(at - base), "bytes": size} for at, size in seen["arrivals"]
        ]
    run["table"], run["variables"], run["moments"] = table(run), variables(run), moments(run)
    return run


def _us(nanoseconds: int) -> float:
    return round(nanoseconds / 1000, 1)


def _end_all(spans: list[Plain]) -> None:
    """What was still open when the recording was taken ends with the request."""
    root = spans[0]
    last = max(max(span["end"], span["start"]) for span in spans)
    root["end"] = root["end"] or last
    for span in spans:
        if not span["end"]:
            span["end"] = max(last, span["start"])
            span["detail"] = {**span["detail"], "open": True}


def _add_client(spans: list[Plain], root: Plain, seen: Plain) -> None:
    """The time between the client and the server's first look at a complete head."""
    arrived = root["start"]
    root["start"] = min(seen["sent"], arrived)
    root["end"] = max(seen["ended"], root["start"])
    spans.insert(
        1,
        {
            "id": max(span["id"] for span in spans) + 1, "parent": root["id"], "kind": "protocol",
            "name": "bytes in, head parsed", "start": root["start"], "end": arrived,
            "thread": root["thread"], "task": None, "sync": False, "file": None, "line": None,
            "detail": {"bytes": seen["bytes_in"]},
        },
    )  # fmt: skip


def _relative(span: Plain, base: int) -> Plain:
    made = {k: v for k, v in span.items() if k not in ("start", "end", "crossing")}
    made["start_us"], made["end_us"] = _us(span["start"] - base), _us(span["end"] - base)
    for name in ("task", "file", "line"):
        if made[name] is None:
            del made[name]
    return made


def _crossing(number: int, span: Plain, spans: list[Plain], base: int) -> Plain:
    crossing = span["crossing"]
    kind, cause = crossing["cause"]
    return {
        "id": number,
        "span": span["id"],
        "name": span["name"],
        "direction": crossing["direction"],
        "at_us": _us(span["start"] - base),
        "end_us": _us(span["end"] - base),
        "cost_us": _us(crossing["cost"]),
        "cause_span": span["parent"],
        "cause_kind": kind,
        "cause": cause,
        "from_thread": span["thread"],
        "to_thread": crossing["to_thread"],
    }


def _counts(recorded: Plain, seen: Plain | None) -> dict[str, int]:
    facts = recorded["facts"]
    counts = {name: int(recorded["counts"].get(name, 0)) for name in _COUNTS}
    counts["bytes_in"] = seen["bytes_in"] if seen else int(facts.get("body_received") or 0)
    counts["bytes_out"] = seen["bytes_out"] if seen else int(facts.get("body_sent") or 0)
    return counts


def _response_of(facts: Plain) -> Plain:
    """All that the server itself knows of a response."""
    return {
        "status": facts.get("status", 0), "reason": "", "headers": facts.get("headers", []),
        "cookies": {}, "body_bytes": facts.get("body_sent", 0), "body_preview": "",
    }  # fmt: skip
