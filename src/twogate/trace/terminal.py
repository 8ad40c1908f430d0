"""Draws the trace document on a terminal: the runs, what differs, and what to do about it.

Side by side where there is room, one after the other where there is not. Plain text for pipes and
``NO_COLOR``. Knows the document and nothing of where it came from.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TextIO, TypeAlias

from twogate.observe.startup import Style
from twogate.trace.conclusions import plural

__all__ = ["show"]

Plain: TypeAlias = dict[str, Any]
Paint: TypeAlias = Callable[[str], str]

#: Columns from which runs are drawn side by side, and what stands between them.
_WIDE = 120
_GAP = "  "
#: Columns of a run from which the thread is named and not only marked.
_NAMED = 64
#: Lines of one run at most; pages have them all.
_MOST = 150


@dataclass(slots=True)
class _Line:
    """A line of a run: its text, as wide as its column, and how it is painted."""

    text: str
    paint: Paint = str


def show(document: Plain, stream: TextIO, width: int | None = None) -> None:
    """Write the document for people.

    :param width: columns; those of the terminal by default.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    style = Style(stream)
    lines = [*_title(document, style, width), "", *_runs(document["runs"], style, width)]
    lines += ["", *_differences(document, style, width), *_conclusions(document, style, width)]
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))


def _title(document: Plain, style: Style, width: int) -> Iterator[str]:
    asked, versions = document["request"], document["versions"]
    who = f" as {asked['user']}" if asked.get("user") else ""
    yield style.bold(_cut(f"{asked['method']} {asked['path']}{who}", width))
    told = ", ".join(f"{name.title()} {number}" for name, number in versions.items())
    yield from _wrapped(f"{told}; each gateway was warmed up by a request not shown here.", width)
    yield from _wrapped("Times in ms. L: on an event loop, T: on a thread, ⇄: a crossing.", width)


# The runs.


def _runs(runs: Sequence[Plain], style: Style, width: int) -> list[str]:
    if width < _WIDE:
        return [
            line.paint(line.text)
            for number, run in enumerate(runs)
            for line in [*([_Line("")] if number else []), *_run(run, style, width)]
        ]
    column = (width - len(_GAP) * (len(runs) - 1)) // len(runs)
    drawn = [list(_run(run, style, column)) for run in runs]
    empty = _Line("")
    return [
        _GAP.join(line.paint(line.text.ljust(column)) for line in row)
        for row in zip_longest(*drawn, fillvalue=empty)
    ]


def _run(run: Plain, style: Style, width: int) -> Iterator[_Line]:
    answer = run["response"]
    yield _Line(_cut(run["title"], width), style.bold)
    status = f"{answer['status']} {answer['reason']}".strip()
    bad = answer["status"] >= 500 or not answer["status"]
    yield _Line(
        _cut(f"{status}, {_ms(run['duration_us'])} ms{_repeated(run)}", width),
        style.red if bad and run["id"] != "ws-wsgi" else style.green,
    )
    for line in _wrapped(_counted(run), width):
        yield _Line(line)
    if run.get("refused"):
        for line in _wrapped(f"refused: {run['refused']}", width):
            yield _Line(line, style.yellow)
    yield _Line("─" * width)
    yield from _steps(run, style, width)
    if run.get("heard"):
        for message in run["heard"][:20]:
            yield _Line(_cut(f"client hears: {message}", width))


def _repeated(run: Plain) -> str:
    told = run.get("repeat")
    if not told:
        return ""
    fast, slow = _ms(told["fastest_us"]), _ms(told["slowest_us"])
    return f" (median of {told['times']}: {_ms(told['median_us'])}, {fast} to {slow})"


def _counted(run: Plain) -> str:
    counts = run["counts"]
    cost = sum(crossing["cost_us"] for crossing in run["crossings"])
    parts = [plural(counts["crossings"], "crossing") + (f" ({_ms(cost)} ms)" if cost else "")]
    parts.append(plural(counts["queries"], "query", "queries"))
    if counts["queries"] or counts["connections_opened"]:
        parts.append(
            f"connections: {counts['connections_opened']} opened,"
            f" {counts['connections_reused']} reused"
        )
    if counts["templates"]:
        parts.append(plural(counts["templates"], "template"))
    if counts["threads_started"]:
        parts.append(plural(counts["threads_started"], "new thread"))
    parts.append(f"{counts['bytes_in']} bytes in, {counts['bytes_out']} out")
    return " · ".join(parts)


def _steps(run: Plain, style: Style, width: int) -> Iterator[_Line]:
    crossings = {crossing["span"]: crossing for crossing in run["crossings"]}
    drawn = 0
    rows = list(_flat(run))
    for depth, span, times in rows:
        if drawn == _MOST:
            break
        drawn += 1
        yield _step(depth, span, times, crossings.get(span["id"]), style, width)
        if span["detail"].get("error"):
            yield _Line(_cut(f"{'':9}{'  ' * depth}✗ {span['detail']['error']}", width), style.red)
    left = len(rows) - drawn + run.get("left_out", 0)
    if left:
        yield _Line(_cut(f"… {left} more; --html and --json have those recorded", width))


def _flat(run: Plain) -> Iterator[tuple[int, Plain, int]]:
    """Depth, span and how often, depth first; the same leaf again and again is one line."""
    children: dict[int | None, list[Plain]] = {}
    for span in run["spans"]:
        children.setdefault(span["parent"], []).append(span)

    def walk(parent: int | None, depth: int) -> Iterator[tuple[int, Plain, int]]:
        siblings = sorted(children.get(parent, ()), key=lambda s: (s["start_us"], s["id"]))
        position = 0
        while position < len(siblings):
            span, times = siblings[position], 1
            while (
                position + times < len(siblings)
                and _same(span, siblings[position + times])
                and span["id"] not in children
                and siblings[position + times]["id"] not in children
            ):
                times += 1
            yield depth, span, times
            yield from walk(span["id"], depth + 1)
            position += times

    for root in children.get(None, ()):
        yield from walk(root["id"], 0)


def _same(one: Plain, other: Plain) -> bool:
    return bool(one["kind"] == other["kind"] and one["name"] == other["name"])


def _step(
    depth: int, span: Plain, times: int, crossing: Plain | None, style: Style, width: int
) -> _Line:
    where = "L" if not span["sync"] else "T"
    if width >= _NAMED:
        where = f"{where} {_short_thread(span['thread']):<11}"
    begin = f"{_ms(span['start_us']):>7} {where} "
    took = _ms(span["end_us"] - span["start_us"])
    name, paint = span["name"], _paint(span, style)
    if crossing is not None:
        side = "thread" if crossing["direction"] == "to_thread" else "loop"
        name = f"⇄ {side}: {crossing['cause']}"
        took = f"cost {_ms(crossing['cost_us'])}"
    elif span["kind"] == "query":
        name = f"db {name}"
    elif span["kind"] in ("view", "template", "receiver"):
        name = f"{span['kind']} {name}"
    again = f" *{times}" if times > 1 else ""
    room = max(4, width - len(begin) - len(took) - len(again) - 1)
    text = _cut(f"{' ' * min(depth, 8)}{name}", room)
    return _Line(f"{begin}{text}{again}".ljust(width - len(took) - 1)[: width - len(took) - 1]
                 + f" {took}", paint)  # fmt: skip


def _paint(span: Plain, style: Style) -> Paint:
    if span["detail"].get("error"):
        return style.red
    return {"crossing": style.yellow, "view": style.bold, "connect": style.yellow}.get(
        span["kind"], str
    )


def _short_thread(name: str) -> str:
    if name == "MainThread":
        return "main"
    return _cut(name.replace("ThreadPoolExecutor", "pool"), 11)


# What differs, and what it comes to.


def _differences(document: Plain, style: Style, width: int) -> Iterator[str]:
    pairs: dict[tuple[str, str], list[Plain]] = {}
    for found in document["differences"]:
        pairs.setdefault(tuple(found["runs"]), []).append(found)
    for (left, right), found_here in pairs.items():
        widest = max(len(found["what"]) for found in found_here)
        first = min(max(widest, len("what differs")), width // 3)
        cell = (width - first - 6) // 2
        cell = min(cell, 44)
        yield style.bold(
            f"{_cut('what differs', first):<{first}}  {_cut(left, cell):<{cell}}  {right}"
        )
        for found in found_here:
            mark, paint = ("  ", str) if found["expected"] else ("✗ ", style.red)
            one, other = (_cut(_plain(found[side]), cell) for side in ("left", "right"))
            what = _cut(found["what"], first)
            yield paint(f"{what:<{first}}  {one:<{cell}}  {mark}{other}")
        yield ""


def _plain(value: object) -> str:
    return " ".join(str(value).split())


def _conclusions(document: Plain, style: Style, width: int) -> Iterator[str]:
    paints = {"wrong": ("✗", style.red), "cost": ("•", style.yellow), "fine": ("✓", style.green)}
    for said in document["conclusions"]:
        mark, paint = paints[said["level"]]
        first, *rest = _wrapped(said["text"], width - 2)
        yield f"{paint(mark)} {first}"
        yield from (f"  {line}" for line in rest)
        if said["mend"]:
            yield from (f"    {line}" for line in _wrapped(said["mend"], width - 4))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(20, width)) or [""]


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
