"""Turns a trace document into what the page plays: for each run a lane of steps in order of time.

Every step is a recorded event. Reads lines of the project's own code, to show them; otherwise works
on the document alone.
"""

from __future__ import annotations

import inspect
import tokenize
from pathlib import Path
from typing import Any, TypeAlias

from twogate.lab.moments import key_moments

__all__ = ["play"]

Plain: TypeAlias = dict[str, Any]

#: The stops of the concept flow.
_STOPS = {
    "request": "client", "client": "client", "protocol": "server", "dispatch": "server",
    "wait": "server", "gateway": "gateway", "crossing": "gateway", "response": "response",
}  # fmt: skip
#: Lines of code that are shown with a step.
_MOST_LINES = 14


def play(document: Plain) -> Plain:
    """What there is to play.

    :return: ``request``, ``chosen``, ``lanes`` (each with its ``steps``) and ``moments``.
    """
    folder = Path(document["project"]["folder"])
    request = document["request"]
    return {
        "request": {
            "method": request["method"],
            "path": request["path"],
            "messages": request.get("websocket_messages"),
        },
        "chosen": document["project"]["chosen"],
        "versions": document["versions"],
        "lanes": [_lane(run, folder) for run in document["runs"]],
        "moments": key_moments(document),
    }


def _lane(run: Plain, folder: Path) -> Plain:
    spans = {span["id"]: span for span in run["spans"]}
    steps = _steps(run)
    _fill_table(run, steps)
    _lay_out(steps)
    for step in steps:
        span = spans[step["span"]]
        parent = spans.get(span["parent"])
        step["within"] = parent["name"] if parent is not None and step["bar"] else ""
        step["detail"] = _detail(run, span) if step["bar"] else {}
        step.update(_place(span, folder) if step["bar"] else {})
    return {
        "id": run["id"],
        "title": run["title"],
        "gateway": run["gateway"],
        "handler": run["handler"],
        "status": run["response"]["status"],
        "duration_us": run["duration_us"],
        "crossings": run["counts"]["crossings"],
        "refused": run.get("refused", ""),
        "heard": run.get("heard", []),
        "threads": _threads(steps),
        "steps": steps,
    }


def _steps(run: Plain) -> list[Plain]:
    """The client's two ends, all spans but the first, and what came to the client when."""
    root = run["spans"][0]
    begin, end = root["start_us"], root["end_us"]
    last = "client has the last bytes" if run.get("heard") else "client has the answer"
    steps = [_client(root, "client sends", begin), _client(root, last, end)]
    steps += [_step(span) for span in run["spans"][1:]]
    arrivals = run.get("arrivals", [])
    if len(arrivals) > 1:
        for arrival in arrivals:
            name = f"client receives {arrival['bytes']} bytes"
            steps.append(_client(root, name, arrival["at_us"]))
    order = {"client sends": 0, last: 2}
    # The answer may be with the client before the server has put away what it needed for it.
    return sorted(steps, key=lambda step: (step["at_us"], order.get(step["name"], 1)))


def _client(root: Plain, name: str, at: float) -> Plain:
    return {
        "span": root["id"], "kind": "client", "stop": "client", "name": name, "at_us": at,
        "end_us": at, "thread": "", "task": "", "sync": None, "bar": False,
    }  # fmt: skip


def _step(span: Plain) -> Plain:
    return {
        "span": span["id"], "kind": span["kind"], "stop": _STOPS.get(span["kind"], "django"),
        "name": span["name"], "at_us": span["start_us"], "end_us": span["end_us"],
        "thread": span["thread"], "task": span.get("task", ""), "sync": span["sync"], "bar": True,
    }  # fmt: skip


# The tables.


def _fill_table(run: Plain, steps: list[Plain]) -> None:
    """Each step gets its row of the execution table, and those of the variable tracker."""
    first, *rows, last = run["table"]
    by_span = {row["span"]: row for row in rows}
    variables: dict[int, Plain] = {row["span"]: row for row in run["variables"]}
    begun, *_ = run["variables"]
    root = run["spans"][0]["id"]
    before = first
    for step in steps:
        if step["name"] == "client sends":
            row = first
            _track(step, begun)
        elif step["name"].startswith("client has"):
            row = {**last, "step": step["name"]}
            settled = variables.get(root)
            if settled is not None and settled is not begun:
                _track(step, settled)
        elif step["kind"] == "client":
            row = {**before, "step": step["name"], "call_type": "", "django_processing": ""}
        else:
            row = by_span.get(step["span"]) or _between(run, step, before)
            if step["span"] in variables:
                _track(step, variables[step["span"]])
        before = row
        step["row"] = {key: row[key] for key in _COLUMNS}
        if run["id"] == "ws-wsgi":
            step["row"]["server_type"] = "WSGI"


_COLUMNS = (
    "step", "server_type", "request_type", "call_type", "django_processing", "response_sent",
)  # fmt: skip


def _track(step: Plain, row: Plain) -> None:
    names = ("step", "request_type", "call_mode", "response_type")
    step["variables"] = {name: row[name] for name in names}


def _between(run: Plain, step: Plain, before: Plain) -> Plain:
    """The row of a step that the trace's own table leaves out."""
    call = "sync" if step["sync"] else "async"
    name = step["kind"]
    if step["kind"] == "crossing":
        crossing = next(one for one in run["crossings"] if one["span"] == step["span"])
        to_loop = crossing["direction"] == "to_loop"
        name = "crossing to a loop" if to_loop else "crossing to a thread"
        call = "sync → async" if to_loop else "async → sync"
    return {**before, "step": name, "call_type": call, "django_processing": step["name"]}


# Where steps are drawn, and what they show when they are opened.


def _lay_out(steps: list[Plain]) -> None:
    """A row for each step on its thread, below what it is within."""
    ends: dict[str, list[float]] = {}
    for step in sorted(
        (step for step in steps if step["bar"]), key=lambda one: (one["at_us"], -one["end_us"])
    ):
        taken = ends.setdefault(step["thread"], [])
        row = next((n for n, end in enumerate(taken) if end <= step["at_us"]), len(taken))
        taken[row : row + 1] = [step["end_us"]]
        step["level"] = row


def _threads(steps: list[Plain]) -> list[Plain]:
    """The threads in order of their first steps, and whether a loop runs on them."""
    found: dict[str, Plain] = {}
    for step in steps:
        if step["bar"]:
            thread = found.setdefault(step["thread"], {"name": step["thread"], "loop": False})
            thread["loop"] = thread["loop"] or bool(step["task"])
            thread["levels"] = max(thread.get("levels", 1), step["level"] + 1)
    return list(found.values())


def _detail(run: Plain, span: Plain) -> Plain:
    told = {name: value for name, value in span["detail"].items() if value not in ("", None)}
    for crossing in run["crossings"]:
        if crossing["span"] == span["id"]:
            told["cause"] = f"{crossing['cause']} ({crossing['cause_kind']})"
            told["to thread"] = crossing["to_thread"] or "none was needed"
            told["cost_us"] = crossing["cost_us"]
    return told


def _place(span: Plain, folder: Path) -> Plain:
    """Where the code is, and the code itself where it is the project's."""
    file = span.get("file")
    if not file:
        return {}
    path = Path(file)
    if path.is_relative_to(folder):
        shown = str(path.relative_to(folder))
        return {"file": shown, "line": span["line"], "source": _source(path, span["line"])}
    _, found, shown = file.rpartition("site-packages/")
    return {"file": shown if found else path.name, "line": span["line"]}


def _source(path: Path, line: int) -> str:
    """The definition that begins in a line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[line - 1 :]
        if path.suffix == ".py":
            lines = inspect.getblock(lines)
    except (OSError, ValueError, SyntaxError, tokenize.TokenError):
        return ""
    return "".join(lines[:_MOST_LINES]).rstrip()
