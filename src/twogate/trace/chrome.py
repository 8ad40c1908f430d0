"""The trace document in Chrome's trace format, which Perfetto and ``chrome://tracing`` open.

One process for each run, one track for each thread. Does no input or output.
"""

from __future__ import annotations

from typing import Any

__all__ = ["export"]


def export(document: dict[str, Any]) -> dict[str, Any]:
    """``{"traceEvents": [...]}``: complete events (``X``) and crossings as flows; microseconds."""
    events: list[dict[str, Any]] = []
    for process, run in enumerate(document["runs"], 1):
        events += _named(process, run)
        events += _run(process, run)
    return {"traceEvents": events, "displayTimeUnit": "ms",
            "otherData": {"request": _title(document), **document["versions"]}}  # fmt: skip


def _title(document: dict[str, Any]) -> str:
    asked = document["request"]
    return f"{asked['method']} {asked['path']}"


def _threads(run: dict[str, Any]) -> dict[str, int]:
    names = [span["thread"] for span in run["spans"]]
    names += [crossing["to_thread"] for crossing in run["crossings"]]
    return {name: number for number, name in enumerate(dict.fromkeys(names), 1)}


def _named(process: int, run: dict[str, Any]) -> list[dict[str, Any]]:
    def name(what: str, text: str, thread: int = 0) -> dict[str, Any]:
        return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": text}}

    threads = _threads(run)
    return [
        name("process_name", run["title"]),
        *(name("thread_name", text, number) for text, number in threads.items()),
    ]


def _run(process: int, run: dict[str, Any]) -> list[dict[str, Any]]:
    threads, events = _threads(run), []
    for span in run["spans"]:
        args = dict(span["detail"])
        if "file" in span:
            args["place"] = f"{span['file']}:{span.get('line', 1)}"
        if "task" in span:
            args["task"] = span["task"]
        events.append({
            "ph": "X", "name": span["name"], "cat": span["kind"], "pid": process,
            "tid": threads[span["thread"]], "ts": span["start_us"],
            "dur": max(0.0, round(span["end_us"] - span["start_us"], 1)), "args": args,
        })  # fmt: skip
    for crossing in run["crossings"]:
        flow = {
            "name": f"crossing: {crossing['cause']}", "cat": "crossing", "pid": process,
            "id": process * 100_000 + crossing["id"],
        }  # fmt: skip
        there = threads[crossing["to_thread"] or crossing["from_thread"]]
        begin = {"ph": "s", "tid": threads[crossing["from_thread"]], "ts": crossing["at_us"]}
        end = {"ph": "f", "bp": "e", "tid": there, "ts": crossing["end_us"]}
        events += [{**flow, **begin}, {**flow, **end}]
    return events
