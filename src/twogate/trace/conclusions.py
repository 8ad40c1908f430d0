"""What a trace comes to: a sentence for each thing that costs or is wrong, with its mend.

Works on the trace document alone; does no input or output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from twogate.trace.differences import disagreements

__all__ = ["conclude", "plural"]

Plain: TypeAlias = dict[str, Any]

#: So many times the same query in one request is worth a word.
_REPEATED = 5


def conclude(document: Plain) -> list[Plain]:
    """Sentences, the weightiest first.

    :return: ``{level, text, mend}`` each; the level is ``"wrong"``, ``"cost"`` or ``"fine"``.
    """
    runs = {run["id"]: run for run in document["runs"]}
    said = [*_failures(document), *_disagreements(document), *_choice(document, runs)]
    if "asgi" in runs and "asgi-stock" in runs:
        said += _handlers(runs["asgi-stock"], runs["asgi"])
    for identity in ("asgi", "ws-asgi"):
        if identity in runs:
            said += _causes(runs[identity])
    if "wsgi" in runs:
        said += _loops(runs["wsgi"])
    for run in document["runs"][-1:]:
        said += _repeated_queries(run)
    return list({one["text"]: one for one in said}.values())


def _say(level: str, text: str, mend: str = "") -> Plain:
    return {"level": level, "text": text, "mend": mend}


def _failures(document: Plain) -> Iterator[Plain]:
    for run in document["runs"]:
        errors = [span for span in run["spans"] if span["detail"].get("error")]
        if run["response"]["status"] < 500:
            errors = []  # it was turned into an answer, as a missing page is
        if errors and not run.get("refused"):
            deepest = max(errors, key=lambda span: int(span["id"]))
            where = f" ({deepest['file']}, line {deepest['line']})" if "file" in deepest else ""
            yield _say(
                "wrong", f"{deepest['name']} raises {deepest['detail']['error']}{where}.",
                "--traceback shows what the project logs.",
            )  # fmt: skip
        elif run.get("error"):
            yield _say("wrong", f"The application failed: {run['error']}.")
        if run["id"] == "ws-asgi" and run.get("refused"):
            yield _say("wrong", f"The WebSocket was refused: {run['refused']}.",
                       "Is there such a route, and does the consumer accept?")  # fmt: skip
        if run["response"]["status"] == 404:
            yield _say("wrong", f"The answer to {document['request']['path']} is 404.",
                       "Is the path right, with its slash at the end?")  # fmt: skip
        if run["response"]["status"] in (301, 302, 303, 307, 308):
            yield _say("cost", f"The answer is a redirect to {_location(run)}.",
                       "Trace that, or log in with --user.")  # fmt: skip
        if run.get("cut"):
            yield _say("cost", f"{run['title']}: the answer did not end, and was cut.")


def _location(run: Plain) -> str:
    found = (value for name, value in run["response"]["headers"] if name.lower() == "location")
    return str(next(found, "nowhere"))


def _disagreements(document: Plain) -> Iterator[Plain]:
    for found in disagreements(document["differences"]):
        left, right = found["runs"]
        yield _say("wrong", f"{left} and {right} answer differently: {found['what']}.",
                   found["why"])  # fmt: skip


def _choice(document: Plain, runs: dict[str, Plain]) -> Iterator[Plain]:
    chosen = document["project"].get("chosen") or {}
    gateway = chosen.get("gateway")
    if gateway and gateway in runs:
        count = runs[gateway]["counts"]["crossings"]
        yield _say(
            "fine", f"twogate serve sends this through {gateway.upper()} ({chosen['reason']}):"
            f" {_times(count)}.",
        )  # fmt: skip
    refused = runs.get("ws-wsgi")
    if refused is not None and refused.get("refused"):
        yield _say("fine", f"WSGI cannot carry a WebSocket, and says so: {refused['refused']}")


def _handlers(stock: Plain, ours: Plain) -> Iterator[Plain]:
    one, other = stock["counts"], ours["counts"]
    if one["crossings"] > other["crossings"]:
        yield _say(
            "fine",
            f"Through ASGI, Django's own handler costs {_times(one['crossings'])}"
            f" ({_cost(stock)}), Twogate's {_times(other['crossings'])}"
            + (f" ({_cost(ours)})." if other["crossings"] else "."),
        )
    if one["connections_opened"] > other["connections_opened"]:
        yield _say(
            "fine",
            f"Django's own handler opened {plural(one['connections_opened'], 'connection')} for"
            " this one request, on a thread made for it; Twogate's used one that was open.",
        )


def _causes(run: Plain) -> Iterator[Plain]:
    """Who makes our handler leave the loop."""
    found: dict[tuple[str, str], list[Plain]] = {}
    for crossing in run["crossings"]:
        if not crossing["to_thread"]:
            continue  # it was answered where it was asked, without a thread
        found.setdefault((crossing["cause_kind"], crossing["cause"]), []).append(crossing)
    for (kind, cause), crossings in found.items():
        cost = sum(crossing["cost_us"] for crossing in crossings)
        price = f"costs {_times(len(crossings))} through ASGI ({cost:.0f} µs)"
        say = _CAUSES.get(kind)
        if say is not None:
            what, mend = say
            yield _say("cost", f"{cause} {what} and {price}.", mend)


_CAUSES = {
    "middleware": (
        "may block",
        "If it never blocks, declare it with @twogate.django.nonblocking; else make it async"
        " capable, or leave it: the hooks and the sync view after it share its thread.",
    ),
    "view": (
        "is a sync view",
        "Through WSGI it needs no crossing, and that is where twogate serve sends it.",
    ),
    "orm": (
        "asks the database from async code",
        "Put the queries of a view in one function, and await sync_to_async(function)().",
    ),
    "template": (
        "is rendered late",
        "Render it in the view, or leave it: rendering may well query the database.",
    ),
    "receiver": (
        "has a receiver that is sync",
        "If it never blocks, declare it with @twogate.django.nonblocking.",
    ),
    "consumer": ("is a sync consumer", "An async consumer stays on the loop."),
    "response": (
        "is left to a thread",
        "A cache, a file or a receiver may block there; one that is declared with"
        " @twogate.django.nonblocking does not.",
    ),
    "error": ("needs a thread", "The log, the mail and the page of an error may all block."),
}


def _loops(run: Plain) -> Iterator[Plain]:
    loops = [crossing for crossing in run["crossings"] if crossing["direction"] == "to_loop"]
    if loops:
        cause = loops[0]["cause"]
        yield _say(
            "cost",
            f"{cause} is async: through WSGI it needs an event loop on a thread of its own for"
            f" each request ({loops[0]['cost_us']:.0f} µs).",
            "Through ASGI it needs neither, and that is where twogate serve sends it.",
        )


def _repeated_queries(run: Plain) -> Iterator[Plain]:
    queries: dict[str, int] = {}
    for span in run["spans"]:
        if span["kind"] == "query":
            sql = str(span["detail"].get("sql", span["name"]))
            queries[sql] = queries.get(sql, 0) + 1
    for sql, count in queries.items():
        if count >= _REPEATED:
            shown = sql if len(sql) <= 100 else sql[:99] + "…"
            yield _say("cost", f"The same query ran {count} times: {shown}",
                       "select_related() or prefetch_related() may ask once.")  # fmt: skip


def _cost(run: Plain) -> str:
    return f"{sum(crossing['cost_us'] for crossing in run['crossings']):.0f} µs"


def _times(count: int) -> str:
    return plural(count, "crossing") if count else "no crossing"


def plural(count: int, word: str, words: str = "") -> str:
    """A number of things."""
    return f"{count} {word}" if count == 1 else f"{count} {words or word + 's'}"
