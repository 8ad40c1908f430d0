"""Trace documents to show: made up, with the shape of real ones."""

from __future__ import annotations

from typing import Any


def span(number: int, parent: int | None, kind: str, name: str, start: float, end: float,
         thread: str, **more: Any) -> dict[str, Any]:  # fmt: skip
    """One span."""
    sync = more.pop("sync", thread != "loop")
    return {
        "id": number, "parent": parent, "kind": kind, "name": name, "start_us": start,
        "end_us": end, "thread": thread, "sync": sync, "detail": more,
    }  # fmt: skip


def run(name: str, gateway: str, hops: int, length: float) -> dict[str, Any]:
    """A request that crosses ``hops`` times, once for each middleware."""
    thread = "worker-1" if gateway == "wsgi" else "loop"
    spans = [
        span(0, None, "request", "GET /polls/", 0, length, "loop"),
        span(1, 0, "protocol", "read the head", 2, 20, "loop", bytes=312),
        span(2, 0, "dispatch", f"{gateway}: sync view polls.views.index", 20, 28, "loop"),
        span(3, 0, "gateway", gateway.upper(), 40, length - 30, thread),
        span(4, 3, "handler", "WSGIHandler", 50, length - 40, thread),
    ]
    crossings = []
    at, step = 60.0, (length - 200) / max(1, hops + 7)
    for number in range(7):
        number += 5
        spans.append(
            span(number, 4, "middleware", f"Middleware{number - 4}.process_request",
                 at, at + step * 0.8, thread, file="django/middleware/x.py", line=number)
        )  # fmt: skip
        if number - 5 < hops:
            spans.append(
                span(100 + number, number, "crossing", "sync_to_async", at + 2, at + step * 0.7,
                     "thread-1", sync=True)
            )  # fmt: skip
            crossings.append({
                "id": 100 + number, "direction": "to_thread", "at_us": at + 2,
                "end_us": at + step * 0.7, "cost_us": step * 0.5, "cause_span": number,
                "cause_kind": "middleware", "cause": f"Middleware{number - 4}.process_request",
                "from_thread": "loop", "to_thread": "thread-1",
            })  # fmt: skip
        at += step
    spans.append(span(20, 4, "view", "polls.views.index", at, length - 60, thread, sync=True))
    spans.append(span(21, 20, "query", "SELECT <all> FROM polls", at + 5, length - 80, thread))
    spans.append(span(30, 0, "response", "200 OK", length - 28, length - 2, "loop"))
    return {
        "id": name, "title": name, "gateway": gateway, "handler": "Django's stock handler",
        "response": {"status": 200, "reason": "OK", "headers": [["X", "<b>"]], "cookies": [],
                     "body_bytes": 1234, "body_preview": "<p>hello</p>"},
        "duration_us": length, "spans": spans, "crossings": crossings,
        "counts": {"crossings": hops, "queries": 1, "connections_opened": 1,
                   "connections_reused": 0, "templates": 0, "threads_started": hops // 3,
                   "bytes_in": 312, "bytes_out": 1400},
        "table": [{"step": "Client sends", "server_type": gateway.upper(), "request_type": "HTTP",
                   "call_type": "sync", "django_processing": "none yet", "response_sent": False,
                   "span": 1},
                  {"step": "View", "server_type": gateway.upper(), "request_type": "HTTP",
                   "call_type": "sync", "django_processing": "runs the view",
                   "response_sent": True, "span": 20}],
        "variables": [{"step": "View", "request_type": "WSGIRequest", "call_mode": "sync",
                       "response_type": "HttpResponse"}],
        "moments": [{"title": "Why a crossing?", "text": "A & B <c> " + "long" * 30, "span": 20}],
    }  # fmt: skip


def refused() -> dict[str, Any]:
    """A WebSocket where only WSGI is."""
    return {
        "id": "ws-wsgi", "title": "WebSocket through WSGI", "gateway": "wsgi", "handler": None,
        "refused": "A WebSocket needs the ASGI gateway.",
        "response": {"status": 501, "reason": "Not Implemented", "headers": [], "cookies": [],
                     "body_bytes": 99, "body_preview": ""},
        "duration_us": 90, "spans": [
            span(0, None, "request", "GET /ws/", 0, 90, "loop"),
            span(1, 0, "gateway", "no gateway", 20, 60, "loop"),
        ],
        "crossings": [], "counts": {"crossings": 0, "bytes_in": 200, "bytes_out": 300},
        "table": [], "variables": [], "moments": [],
    }  # fmt: skip


def document(*runs: dict[str, Any], path: str = "/polls/?a=<1>&b=2") -> dict[str, Any]:
    """A trace document."""
    return {
        "format": "twogate-trace/1",
        "versions": {"twogate": "0.1", "Django": "5.2"},
        "project": {"settings": "mysite.settings"},
        "request": {"method": "GET", "path": path, "headers": [], "body": "", "user": None},
        "runs": list(runs),
        "differences": [
            {
                "what": "crossings",
                "left": "0",
                "right": "7",
                "expected": True,
                "why": "hops",
                "runs": ["WSGI", "ASGI, stock handler"],
            },
            {
                "what": "header <X>",
                "left": "1",
                "right": "2",
                "expected": False,
                "why": None,
                "runs": ["WSGI", "ASGI, stock handler"],
            },
        ],
    }


def usual() -> dict[str, Any]:
    """Three ways and a refusal."""
    return document(
        run("WSGI", "wsgi", 0, 900.0),
        run("ASGI, stock handler", "asgi", 7, 3800.0),
        run("ASGI, Twogate's handler", "asgi", 1, 1000.0),
        refused(),
    )


def large(count: int = 5000) -> dict[str, Any]:
    """A trace of so many spans, nested and on many threads."""
    big = run("ASGI", "asgi", 7, 1_000_000.0)
    step = 900_000 / count
    for number in range(count - len(big["spans"])):
        start = 1000 + number * step
        thread = "loop" if number % 3 else f"worker-{number % 7}"
        big["spans"].append(
            span(1000 + number, 4, "query" if number % 2 else "template", f"span {number}",
                 start, start + step * (5 if number % 10 == 0 else 0.8), thread)
        )  # fmt: skip
    return document(big)
