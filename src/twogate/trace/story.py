"""Tells a run of the trace document in words: its table of steps, its variables, its moments.

Works on the document alone, so that what is told is what was recorded. Does no input or output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

__all__ = ["duration", "moments", "table", "variables"]

Plain: TypeAlias = dict[str, Any]

#: Spans that are steps of their own; the rest is within one of them.
_STEPS = ("protocol", "dispatch", "wait", "gateway", "handler", "middleware", "view", "response")
#: Steps of the table at most.
_MOST = 200


def duration(microseconds: float) -> str:
    """A time in words."""
    if microseconds < 1000:
        return f"{microseconds:.0f} µs"
    if microseconds < 1e6:
        return f"{microseconds / 1000:.{1 if microseconds >= 1e4 else 2}f} ms"
    return f"{microseconds / 1e6:.2f} s"


def _is_websocket(run: Plain) -> bool:
    return str(run["id"]).startswith("ws-") or any(
        span["detail"].get("scope") == "websocket" for span in run["spans"]
    )


def _steps(run: Plain) -> Iterator[Plain]:
    found = [span for span in run["spans"] if span["kind"] in _STEPS]
    yield from sorted(found, key=lambda span: (span["start_us"], span["id"]))[:_MOST]


def _mode(span: Plain) -> str:
    return "sync" if span["sync"] else "async"


def table(run: Plain) -> list[Plain]:
    """The execution table: each step with who serves, what is asked, how it is called, what Django
    does, and what of the response has been sent."""
    server = str(run["gateway"]).upper() or "none"
    asked = "WebSocket" if _is_websocket(run) else "HTTP"
    status = run["response"]["status"]
    rows = [_row("client sends", server, asked, "", "", "no", run["spans"][0])]
    sent = "no"
    for span in _steps(run):
        kind, name = span["kind"], span["name"]
        processing = name if kind in ("handler", "middleware", "view") else ""
        if kind == "response":
            sent = name if name.startswith("sends") else f"{status}"
        call = _mode(span) if kind in ("gateway", "handler", "middleware", "view") else ""
        step = str(name if name.startswith("sends") else _STEP_NAMES.get(kind, name))
        rows.append(_row(step, server, asked, call, processing, sent, span))
    rows.append(_row("client has the answer", server, asked, "", "", str(status), run["spans"][0]))
    return rows


_STEP_NAMES = {"handler": "Django's handler", "middleware": "middleware", "view": "view",
               "response": "response begins"}  # fmt: skip


def _row(
    step: str, server: str, asked: str, call: str, processing: str, sent: str, span: Plain
) -> Plain:
    return {
        "step": step, "server_type": server, "request_type": asked, "call_type": call,
        "django_processing": processing, "response_sent": sent, "span": span["id"],
    }  # fmt: skip


def variables(run: Plain) -> list[Plain]:
    """What the type of the request, the mode of the call and the type of the response are, at each
    step that settles one of them, with its span."""
    asked = "WebSocket" if _is_websocket(run) else "HTTP"
    state = {"request_type": "", "call_mode": "", "response_type": ""}
    rows: list[Plain] = []

    def note(step: str, span: Plain, **changes: str) -> None:
        state.update(changes)
        rows.append({"step": step, **state, "span": span["id"]})

    root = run["spans"][0]
    note("client sends", root, request_type=asked)
    for span in _steps(run):
        kind = span["kind"]
        if kind == "dispatch":
            mode = {"WSGI": "sync", "ASGI": "async"}.get(_gateway(run), "none")
            note("dispatch", span, call_mode=mode)
        elif kind == "view":
            note("view", span, call_mode=_mode(span))
        elif kind == "response":
            note("response", span, response_type=_type_of_response(run, span))
    if not rows[-1]["response_type"]:
        note("server answers", root, response_type=f"status {run['response']['status']}")
    return rows


def _gateway(run: Plain) -> str:
    return str(run["gateway"]).upper()


def _type_of_response(run: Plain, span: Plain) -> str:
    if str(span["name"]).startswith("sends "):
        return str(span["name"]).removeprefix("sends ")
    types = [value for name, value in run["response"]["headers"] if name.lower() == "content-type"]
    return types[0] if types else f"status {run['response']['status']}"


def moments(run: Plain) -> list[Plain]:
    """The moments that explain the run, in order, each with its span."""
    told: list[Plain] = []

    def tell(title: str, text: str, span: Plain | int) -> None:
        identity = span if isinstance(span, int) else span["id"]
        told.append({"title": title, "text": text, "span": identity})

    spans = run["spans"]
    for span in spans:
        if span["kind"] == "dispatch":
            where = _gateway(run) or "no"
            reason = span["detail"].get("reason", "")
            tell("The gateway is chosen", f"The {where} gateway: {reason}.", span)
        elif span["kind"] == "wait":
            text = "A WSGI application blocks, so it is called on a worker thread, one for each"
            tell("A thread is taken", f"{text} request under way.", span)
        elif span["kind"] == "gateway":
            tell("The application is called", _how_called(run, span), span)
    if run["crossings"]:
        first = run["crossings"][0]
        count = len(run["crossings"])
        tell(
            "The first crossing",
            f"{first['cause']} ({first['cause_kind']}) needs {_side(first)}: the first of {count}"
            f" crossings, which cost {sum(c['cost_us'] for c in run['crossings']):.0f} µs in all.",
            first["span"],
        )
    loops = [c for c in run["crossings"] if c["direction"] == "to_loop"]
    if loops:
        tell(
            "Async code runs for sync code",
            f"{loops[0]['cause']} is async and was called from a thread, which waits while an event"
            " loop runs it; the answer is right, the waiting is the price.",
            loops[0]["span"],
        )
    for span in spans:
        if span["kind"] == "view" and span["detail"].get("error"):
            tell("The view raises", f"{span['name']}: {span['detail']['error']}", span)
    if run.get("refused"):
        tell("The WebSocket is refused", run["refused"], spans[0])
    end = [span for span in spans if span["kind"] == "response"]
    if end:
        tell("The response goes out", f"{end[0]['name']}: {run['counts']['bytes_out']} bytes.",
             end[0])  # fmt: skip
    return told


def _side(crossing: Plain) -> str:
    return "a thread" if crossing["direction"] == "to_thread" else "a loop"


def _how_called(run: Plain, span: Plain) -> str:
    if span["detail"].get("call") == "sync":
        return "application(environ, start_response), on a thread: it returns when it is done."
    kind = span["detail"].get("scope", "http")
    return (
        f"await application(scope, receive, send) with a scope of type {kind}, on the event loop:"
        " others are served while it waits."
    )
