"""Tells in a few sentences what the recording of one request shows; the Live page prints them.

Works on a run of the trace document alone (docs/design/0014-traces.md): no sentence says what was
not recorded. Does no input or output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

__all__ = ["tell", "tell_left"]

Run: TypeAlias = dict[str, Any]

#: A response that goes on for longer than this, in microseconds, is worth a sentence.
_LONG = 50_000
#: Events of a WebSocket that a recording tells apart, its opening among them.
_MOST_MESSAGES = 100


def tell(run: Run, still_open: bool) -> list[str]:
    """The sentences about one request.

    :param run: of the trace document.
    :param still_open: the request is under way.
    """
    gateway = str(run["gateway"]).upper()
    if any(span["detail"].get("scope") == "websocket" for span in run["spans"]):
        told = [_socket(run, gateway, still_open)]
    else:
        told = [*_called(run, gateway), *(() if still_open else _length(run))]
    if run["crossings"]:
        told.append(_crossings(run))
    if run.get("error"):
        told.append(f"The application failed: {run['error']}.")
    return told


def _called(run: Run, gateway: str) -> Iterator[str]:
    views = [span for span in run["spans"] if span["kind"] == "view"]
    if not views:
        yield f"No view was called; the {gateway} side answered with {run['response']['status']}."
        return
    view = views[0]
    kind = "A sync view" if view["sync"] else "An async view"
    yield f"{kind}, called through the {gateway} gateway {_where(run, view)}."


def _where(run: Run, span: dict[str, Any]) -> str:
    """The thread, and whether the loop that serves all runs there."""
    if span["sync"]:
        return f"on the thread {span['thread']}"
    threads = {each["thread"] for each in run["spans"]}
    alone = threads == {span["thread"]} and not run["left_out"]
    return f"on the event loop of the thread {span['thread']}{', where all of it ran' * alone}"


def _length(run: Run) -> Iterator[str]:
    responses = [span for span in run["spans"] if span["kind"] == "response"]
    if not responses or responses[0]["end_us"] - responses[0]["start_us"] < _LONG:
        return
    begun, ended = responses[0]["start_us"], responses[0]["end_us"]
    yield f"Its response began after {_time(begun)} and went on for {_time(ended - begun)}."
    for span in run["spans"]:
        if span["kind"] == "gateway" and span["detail"].get("call") == "sync":
            taken = _time(span["end_us"] - span["start_us"])
            yield f"For {taken} the thread {span['thread']} was taken by it."


def _socket(run: Run, gateway: str, still_open: bool) -> str:
    names = [span["name"] for span in run["spans"]]
    came, went = names.count("receives websocket.receive"), names.count("sends websocket.send")
    told_apart = sum(name.startswith(("receives ", "sends ")) for name in names)
    least = "at least " if told_apart >= _MOST_MESSAGES or run["left_out"] else ""
    state = "still open" if still_open else "closed"
    called = next((span for span in run["spans"] if span["kind"] == "gateway"), run["spans"][0])
    return (
        f"A WebSocket through the {gateway} gateway {_where(run, called)}; {state}."
        f" Messages: {least}{came} in, {least}{went} out."
    )


def _crossings(run: Run) -> str:
    count = len(run["crossings"])
    cause = ".".join(run["crossings"][0]["cause"].split(".")[-2:])
    which = "because of" if count == 1 else "the first because of"
    return f"{count} {_plural('crossing', count)} between loop and threads, {which} {cause}."


def tell_left(left: Sequence[tuple[str, float]]) -> str:
    """The sentence about a message that was published.

    :param left: for each WebSocket through which it left, the gateway, and after how many
        microseconds.
    """
    if not left:
        return "Its message has left through no WebSocket."
    times = sorted(after for _, after in left)
    when = " to ".join(dict.fromkeys([_time(times[0]), _time(times[-1])]))
    gateways = " and ".join(sorted({gateway.upper() for gateway, _ in left}))
    sockets = f"{len(left)} {_plural('WebSocket', len(left))} of the {gateways} gateway"
    return f"Its message left through {sockets}, {when} later."


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _time(microseconds: float) -> str:
    milliseconds = microseconds / 1000
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
