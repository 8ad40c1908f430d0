"""A trace as one HTML page that opens from disk: nothing is loaded from anywhere.

Takes the trace document (``twogate-trace/1``, see docs/design/0014-traces.md) and knows nothing of
how it came to be. Tables are written here, so they need no JavaScript; ``page.js`` draws the
timelines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

from twogate.trace.story import duration

__all__ = ["render"]

Document: TypeAlias = Mapping[str, Any]

_HERE = Path(__file__).parent
#: The stops of the concept flow: title, and the kinds of span whose time is theirs.
_STOPS = (
    ("Client", ()),
    ("Server", ("protocol", "dispatch")),
    ("Gateway", ("gateway",)),
    ("Django", ("handler", "middleware", "receiver")),
    ("View", ("view",)),
    ("Response", ("response",)),
)
_KINDS = {
    "request": "the whole request",
    "protocol": "bytes and heads",
    "dispatch": "choice of gateway",
    "gateway": "gateway",
    "handler": "Django's handler",
    "middleware": "middleware",
    "view": "view",
    "receiver": "signal receiver",
    "template": "template",
    "query": "database query",
    "connect": "database connection",
    "crossing": "crossing",
    "wait": "waiting",
    "response": "response",
}
_STEP_HEADS = (
    "Step", "Server type", "Request type", "Call type", "Django processing", "Response sent",
)  # fmt: skip
_COUNTS = (
    ("crossings", "crossings"),
    ("threads_started", "threads started"),
    ("queries", "queries"),
    ("connections_opened", "connections opened"),
    ("connections_reused", "connections reused"),
    ("templates", "templates"),
    ("bytes_out", "bytes sent"),
)


def render(document: Document) -> str:
    """The page.

    :param document: a trace document.
    :raises KeyError: a part that every trace document has is missing.
    """
    request, runs = document["request"], document["runs"]
    what = f"{request['method']} {request['path']}"
    return Template(_read("page.html")).substitute(
        title=escape(f"{what} · Twogate trace"),
        heading=f"<code>{escape(what)}</code>",
        subtitle=escape(_subtitle(document)),
        style=_read("page.css"),
        cards=_cards(runs),
        conclusions=_conclusions(document.get("conclusions", ())),
        flow=_flow(runs),
        legend=_legend(runs),
        tables="\n".join(_tables(document)),
        footer=escape(_footer(document)),
        data=_embedded(document),
        script=_read("page.js"),
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _embedded(document: Document) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(document, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _subtitle(document: Document) -> str:
    count = len(document["runs"])
    ways = {1: "One run", 2: "Two runs", 3: "Three runs", 4: "Four runs"}.get(
        count, f"{count} runs"
    )
    user = document["request"].get("user")
    return f"{ways} of one real request{f', as {user}' if user else ''}; times are of this machine."


def _footer(document: Document) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in document.get("versions", {}).items())
    return f"Made by twogate trace. {versions}"


# The top: a card for each run, and the way the request took.


def _cards(runs: Sequence[Document]) -> str:
    longest = max((run["duration_us"] for run in runs), default=1) or 1
    return f'<ul class="cards">{"".join(_card(run, longest) for run in runs)}</ul>'


def _card(run: Document, longest: float) -> str:
    rows = "".join(
        f"<dt>{label}</dt><dd>{run['counts'][name]:,}</dd>"
        for name, label in _COUNTS
        if run["counts"].get(name) is not None
    )
    share = max(0.0, min(100.0, 100 * run["duration_us"] / longest))
    refused = " refused" if run.get("refused") else ""
    return (
        f'<li class="card{refused}"><h2>{escape(run["title"])}</h2>'
        f'<p class="big">{duration(run["duration_us"])}</p>'
        f'<div class="bar" aria-hidden="true"><span style="width:{share:.1f}%"></span></div>'
        f"<p>{escape(_outcome(run))}</p><dl>{rows}</dl></li>"
    )


#: What stands before a conclusion of each level, its class, and the word for those who hear it.
_LEVELS = {"wrong": ("✗", "bad", "Wrong"), "cost": ("•", "", "Cost"), "fine": ("✓", "good", "Fine")}


def _conclusions(conclusions: Iterable[Mapping[str, str]]) -> str:
    rows = []
    for said in conclusions:
        mark, kind, word = _LEVELS[said["level"]]
        mend = f"<small>{escape(said['mend'])}</small>" if said.get("mend") else ""
        sign = f'<span class="{kind}" role="img" aria-label="{word}">{mark}</span>'
        rows.append(f"<li>{sign} {escape(said['text'])}{mend}</li>")
    if not rows:
        return ""
    return f'<h2>What it comes to</h2><ul class="conclusions">{"".join(rows)}</ul>'


def _outcome(run: Document) -> str:
    response = run.get("response") or {}
    status = f"{response.get('status', '')} {response.get('reason', '')}".strip()
    if run.get("refused"):
        return f"Refused: {status}. {run['refused']}" if status else f"Refused: {run['refused']}"
    left_out = f" {run['left_out']:,} steps were too many to keep." if run.get("left_out") else ""
    return (f"Answered with {status}." if status else "No answer.") + left_out


def _flow(runs: Sequence[Document]) -> str:
    rows = "".join(
        f'<div class="flow"><h3>{escape(run["title"])}</h3><ol>{"".join(_stops(run))}</ol></div>'
        for run in runs
    )
    return (
        '<section aria-labelledby="flow"><h2 id="flow">The way of the request</h2>'
        f"<p>Times are each stop's own, without what it waited for inside.</p>{rows}</section>"
    )


def _stops(run: Document) -> Iterator[str]:
    own = _own_times(run["spans"])
    for title, kinds in _STOPS:
        spans = [span for span in run["spans"] if span["kind"] in kinds]
        if kinds and not spans:
            continue
        colour = f"var(--k-{kinds[0]})" if kinds else "var(--accent)"
        notes = [duration(sum(own[span["id"]] for span in spans))] if kinds else []
        notes.append(_stop_note(title, run, spans))
        text = escape(", ".join(filter(None, notes)))
        yield f'<li style="--stop:{colour}">{title}<small>{text}</small></li>'
        if title == "Gateway" and run.get("refused"):
            status = (run.get("response") or {}).get("status", "")
            yield f'<li class="refused">Refused<small>{escape(str(status))}</small></li>'
            return


def _stop_note(title: str, run: Document, spans: Sequence[Document]) -> str:
    if title == "Client":
        return f"{run['counts'].get('bytes_in', 0):,} bytes"
    if title == "Gateway":
        return str(run["gateway"]).upper()
    if title == "Django":
        return str(run.get("handler") or "")
    if title == "View":
        return ", ".join("sync" if span["sync"] else "async" for span in spans[:1])
    if title == "Response":
        return str((run.get("response") or {}).get("status", ""))
    return ""


def _own_times(spans: Sequence[Document]) -> dict[Any, float]:
    """Microseconds of each span without those of the spans in it."""
    own = {span["id"]: span["end_us"] - span["start_us"] for span in spans}
    for span in spans:
        if span.get("parent") in own and span["parent"] != span["id"]:
            own[span["parent"]] -= span["end_us"] - span["start_us"]
    return {number: max(0.0, time) for number, time in own.items()}


def _legend(runs: Sequence[Document]) -> str:
    found = {span["kind"] for run in runs for span in run["spans"]}
    return "".join(
        f'<li><i style="background:var(--k-{kind})"></i>{text}</li>'
        for kind, text in _KINDS.items()
        if kind in found
    )


# The tables.


def _tables(document: Document) -> Iterator[str]:
    runs = document["runs"]
    if len(runs) > 1:
        yield _section("differences", "What differs", *_differences(document))
    yield _section("crossings", "Crossings", *map(_crossings, runs))
    yield _section("steps", "Execution table", *map(_steps, runs))
    yield _section("variables", "Variable tracker", *map(_variables, runs))
    moments = "".join(_moment(run, each) for run in runs for each in run.get("moments", ()))
    if moments:
        yield _section("moments", "Key moments", f'<ul class="moments">{moments}</ul>')


def _section(name: str, title: str, *parts: str) -> str:
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{"".join(parts)}</section>'
    )


def _table(caption: str, heads: Iterable[str], rows: Iterable[str]) -> str:
    body = "".join(rows)
    if not body:
        return f"<p>{escape(caption)}: none.</p>"
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(*cells: object, kind: str = "") -> str:
    texts = "".join(f"<td>{escape('' if cell is None else str(cell))}</td>" for cell in cells)
    return f'<tr class="{kind}">{texts}</tr>' if kind else f"<tr>{texts}</tr>"


def _differences(document: Document) -> Iterator[str]:
    """A table for each two runs that were compared."""
    titles = {run["id"]: run["title"] for run in document["runs"]}
    pairs: dict[tuple[str, str], list[Document]] = {}
    for each in document.get("differences", ()):
        pairs.setdefault(tuple(each["runs"]), []).append(each)
    if not pairs:
        yield '<p class="good">Nothing: the answers are the same.</p>'
    for (left, right), found in pairs.items():
        left, right = titles.get(left, left), titles.get(right, right)
        rows = (
            _row(
                each["what"], _short(each["left"]), _short(each["right"]), each.get("why") or "",
                kind="same" if each.get("expected") else "",
            )
            for each in found
        )  # fmt: skip
        faults = sum(not each.get("expected") for each in found)
        caption = f"{left}, and {right}: {faults or 'no'} difference{'s' * (faults != 1)} that"
        heads = ("What", left, right, "Why")
        yield _table(f"{caption} should not be; what is expected is grey", heads, rows)


def _short(value: object) -> object:
    return f"{value:,.0f}" if isinstance(value, float) else value


def _crossings(run: Document) -> str:
    rows = (
        _row(
            f"{each['from_thread']} → {each['to_thread']}", each["cause"], each["cause_kind"],
            duration(each["at_us"]), duration(each["cost_us"]),
        )
        for each in run.get("crossings", ())
    )  # fmt: skip
    return _table(run["title"], ("From → to", "Because of", "Kind", "At", "Cost"), rows)


def _steps(run: Document) -> str:
    rows = (
        "<tr>"
        f"<td>{_link(run, each['step'], each.get('span'))}</td>"
        f"<td>{_text(each, 'server_type')}</td><td>{_text(each, 'request_type')}</td>"
        f"<td>{_text(each, 'call_type')}</td><td>{_text(each, 'django_processing')}</td>"
        f"<td>{_text(each, 'response_sent')}</td></tr>"
        for each in run.get("table", ())
    )
    return _table(run["title"], _STEP_HEADS, rows)


def _text(row: Document, name: str) -> str:
    value = row.get(name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape("" if value is None else str(value))


def _link(run: Document, text: object, span: object) -> str:
    """A step that shows its span in the timeline."""
    if span is None:
        return escape(str(text))
    return (
        f'<button type="button" data-run="{escape(str(run["id"]))}"'
        f' data-span="{escape(json.dumps(span))}">{escape(str(text))}</button>'
    )


def _variables(run: Document) -> str:
    heads = ("Step", "Request type", "Call mode", "Response type")
    rows = (
        _row(each["step"], each["request_type"], each["call_mode"], each["response_type"])
        for each in run.get("variables", ())
    )
    return _table(run["title"], heads, rows)


def _moment(run: Document, moment: Document) -> str:
    shows = _link(run, "Show it", moment.get("span")) if moment.get("span") is not None else ""
    return (
        f"<li><h3>{escape(moment['title'])}</h3><p>{escape(moment['text'])}</p>"
        f"<p>{escape(run['title'])} {shows}</p></li>"
    )
