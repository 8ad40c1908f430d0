"""Key moments of a trace document: questions, each answered with the recorded event that proves it.

A question is asked only if its event is in the document. Pure functions of the document; they know
neither Django nor the pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from twogate.trace.story import duration

__all__ = ["Moment", "key_moments"]

Plain: TypeAlias = dict[str, Any]

#: A view that lasts less is neither slow nor at work; seconds.
_LONG = 0.01
#: The share of its time for which a view that works uses a processor, at least, on a busy machine.
_AT_WORK = 0.1


@dataclass(frozen=True, slots=True)
class Moment:
    """A question and its answer.

    :ivar run: in which run the event is.
    :ivar span: the span that proves the answer.
    :ivar at_us: when to ask, in microseconds since the run began.
    :ivar proof: what the event is, where it ran and when, in words.
    """

    key: str
    run: str
    span: int
    at_us: float
    question: str
    answer: str
    proof: str


def key_moments(document: Plain) -> list[Plain]:
    """The moments of a document in the order of their times, as JSON."""
    found: list[Moment] = []
    for run in document["runs"]:
        for question in _QUESTIONS:
            moment = question(run)
            if moment is not None:
                found.append(moment)
    return [asdict(moment) for moment in sorted(found, key=lambda moment: moment.at_us)]


def _spans(run: Plain, kind: str) -> Iterator[Plain]:
    return (span for span in run["spans"] if span["kind"] == kind)


def _first(run: Plain, kind: str) -> Plain | None:
    return next(_spans(run, kind), None)


def _lasted(span: Plain) -> str:
    return duration(span["end_us"] - span["start_us"])


def _moment(
    key: str, run: Plain, span: Plain, question: str, answer: str, *, at_end: bool = False
) -> Moment:
    where = f"on {span['thread']}" + (f", task {span['task']}" if span.get("task") else "")
    proof = (
        f"Span {span['id']}, {span['name']}: {where}, from {duration(span['start_us'])}"
        f" to {duration(span['end_us'])}."
    )
    at = span["end_us"] if at_end else span["start_us"]
    return Moment(key, run["id"], span["id"], at, question, answer, proof)


def _call(run: Plain, kind: str) -> Plain | None:
    span = _first(run, "gateway")
    return span if span is not None and span["detail"].get("call") == kind else None


def _is_websocket(call: Plain) -> bool:
    return bool(call["detail"].get("scope") == "websocket")


def _sync_call(run: Plain) -> Moment | None:
    call = _call(run, "sync")
    if call is None:
        return None
    answer = (
        f"The server called application(environ, start_response) on {call['thread']} and waited."
        f" The call returned after {_lasted(call)}. Until then, the thread belonged to this one"
        " request."
    )
    return _moment("sync-call", run, call, "What does a synchronous call mean?", answer)


def _async_call(run: Plain) -> Moment | None:
    call, dispatch = _call(run, "async"), _first(run, "dispatch")
    if call is None or dispatch is None or not call.get("task") or _is_websocket(call):
        return None
    if dispatch["thread"] != call["thread"] or _first(run, "wait") is not None:
        return None
    answer = (
        "The server awaited application(scope, receive, send) as a task of its event loop, on"
        f" {call['thread']}, the very thread that had read the request. No worker thread was asked"
        " for to make this call."
    )
    return _moment("async-call", run, call, "What does an asynchronous call mean?", answer)


def _view_crossing(run: Plain, direction: str) -> tuple[Plain, Plain, Plain] | None:
    """The crossing that a view made necessary, its span and the view's."""
    spans = {span["id"]: span for span in run["spans"]}
    for crossing in run["crossings"]:
        is_it = crossing["direction"] == direction and crossing["cause_kind"] == "view"
        if is_it and crossing["to_thread"]:
            for view in _spans(run, "view"):
                if view["parent"] == crossing["span"]:
                    return crossing, spans[crossing["span"]], view
    return None


def _async_view_under_wsgi(run: Plain) -> Moment | None:
    found = _view_crossing(run, "to_loop") if _call(run, "sync") else None
    if found is None:
        return None
    crossing, span, view = found
    answer = (
        f"A thread cannot await. {crossing['from_thread']} waited {_lasted(span)} while"
        f" {crossing['to_thread']} ran an event loop for this call. The view itself took"
        f" {_lasted(view)}; the way there and back cost {duration(crossing['cost_us'])}."
        f" The answer is right all the same: status {run['response']['status']}."
    )
    question = "What does an async view cost under WSGI?"
    return _moment("async-view-wsgi", run, span, question, answer, at_end=True)


def _sync_view_under_asgi(run: Plain) -> Moment | None:
    found = _view_crossing(run, "to_thread") if _call(run, "async") else None
    if found is None:
        return None
    crossing, span, view = found
    answer = (
        f"A sync view may block, and must not block the loop. So {view['name']} ran on"
        f" {crossing['to_thread']}, while its task awaited on {crossing['from_thread']}. The way"
        f" there and back cost {duration(crossing['cost_us'])}."
    )
    question = "What does a sync view cost under ASGI?"
    return _moment("sync-view-asgi", run, span, question, answer, at_end=True)


def _async_view_under_asgi(run: Plain) -> Moment | None:
    call, view = _call(run, "async"), _first(run, "view")
    if call is None or view is None or _is_websocket(call) or run["crossings"]:
        return None
    if view["sync"] or view["thread"] != call["thread"]:
        return None
    answer = (
        f"Nothing had to be adapted: the view ran on {view['thread']}, in the same task as the"
        " call, and this run has no crossing."
    )
    question = "What does an async view cost under ASGI?"
    return _moment("async-view-asgi", run, view, question, answer, at_end=True)


def _told(run: Plain) -> tuple[float, float] | None:
    """How long the view lasted and how long it used a processor, in seconds, as it says itself."""
    try:
        told = json.loads(run["response"]["body_preview"])
        return told["ended"] - told["began"], float(told["busy"])
    except (ValueError, TypeError, KeyError):
        return None


def _slow(run: Plain) -> Moment | None:
    view, told = _first(run, "view"), _told(run)
    if view is None or told is None or told[0] < _LONG:
        return None
    lasted, busy = told
    if busy > lasted * _AT_WORK:
        return _at_work(run, view, busy)
    if view["sync"]:
        answer = f"{view['thread']} does, for {_lasted(view)}: it ran this view and nothing else."
        if _call(run, "async"):
            answer += " The event loop is on another thread and does not wait."
    elif found := _view_crossing(run, "to_loop"):
        crossing = found[0]
        answer = (
            f"Two threads do. {crossing['to_thread']} runs the loop on which the view sleeps, and"
            f" {crossing['from_thread']} waits for it: {_lasted(found[1])}."
        )
    else:
        answer = (
            f"Only this task does, for {_lasted(view)}. “Many at once” shows what the loop on"
            f" {view['thread']} does with that time."
        )
    return _moment(
        "who-waits", run, view, "Who waits while the slow view sleeps?",
        f"{answer} The view used a processor for {duration(busy * 1e6)} of it.", at_end=True,
    )  # fmt: skip


def _at_work(run: Plain, view: Plain, busy: float) -> Moment:
    used = f"It lasted {_lasted(view)} and used a processor for {duration(busy * 1e6)} of that."
    call = _call(run, "async")
    if call is not None and view["thread"] == call["thread"]:
        question = "Is the loop free while an async view computes?"
        answer = (
            f"No. The view ran on {view['thread']}, where the event loop runs, and awaited nothing."
            f" {used} Nothing else could run on that thread meanwhile."
        )
    else:
        question = "Is a computing view the same as a waiting one?"
        answer = f"No. {used} Whichever gateway calls it, this work needs a processor."
    return _moment("at-work", run, view, question, answer, at_end=True)


def _stream_under_wsgi(run: Plain) -> Moment | None:
    call = _call(run, "sync")
    gathers = next((one for one in run["crossings"] if one["name"].endswith("to_list")), None)
    if call is None or gathers is None:
        return None
    span = next(span for span in run["spans"] if span["id"] == gathers["span"])
    answer = (
        "A synchronous call cannot iterate over an async stream. So an event loop on"
        f" {gathers['to_thread']} collected all pieces first, which took {_lasted(span)}, and only"
        f" then were they sent. {_received(run, span['end_us'])}"
    )
    question = "Why does an async stream come all at once through WSGI?"
    return _moment("stream-wsgi", run, span, question, answer, at_end=True)


def _received(run: Plain, after: float) -> str:
    late = sum(one["bytes"] for one in run.get("arrivals", ()) if one["at_us"] >= after)
    whole = run["counts"]["bytes_out"]
    return f"Of {whole} bytes the client received {late} after that." if late else ""


def _stream_under_asgi(run: Plain) -> Moment | None:
    call, sent, arrivals = _call(run, "async"), _first(run, "response"), run.get("arrivals", ())
    if call is None or sent is None or len(arrivals) < 3 or run["crossings"]:
        return None
    times = ", ".join(duration(one["at_us"]) for one in arrivals[:6])
    more = " and so on" if len(arrivals) > 6 else ""
    answer = (
        f"As soon as it is there. The client received something {len(arrivals)} times, at {times}"
        f"{more}, while the response was open for {_lasted(sent)}."
    )
    question = "When does a piece of a stream reach the client?"
    return _moment("stream-asgi", run, sent, question, answer, at_end=True)


def _refused_websocket(run: Plain) -> Moment | None:
    dispatch = _first(run, "dispatch")
    if run["id"] != "ws-wsgi" or not run.get("refused") or dispatch is None:
        return None
    if _first(run, "gateway") is not None:
        return None
    answer = (
        "A WSGI application is called once with a request and returns one response. It has no means"
        " to hear or say anything later. So the server did not call it: this run has no gateway"
        f" step, and the client got {run['response']['status']} {run['response']['reason']}."
    )
    return _moment("websocket-wsgi", run, dispatch, "Why can't WSGI carry a WebSocket?", answer)


def _accepted_websocket(run: Plain) -> Moment | None:
    accept = next(
        (span for span in _spans(run, "response") if span["name"] == "sends websocket.accept"), None
    )
    if accept is None:
        return None
    answer = (
        "The consumer sent websocket.accept, and the server answered the client's request with"
        f" status {run['response']['status']}. From here on both sides may speak at any time."
    )
    return _moment("websocket-accept", run, accept, "How does a WebSocket open?", answer)


def _one_call(run: Plain) -> Moment | None:
    call = _call(run, "async")
    if call is None or not _is_websocket(call):
        return None
    names = [span["name"] for span in run["spans"]]
    heard, said = names.count("receives websocket.receive"), names.count("sends websocket.send")
    answer = (
        f"The application was awaited once, for {_lasted(call)}, with a scope of type websocket."
        f" In this one call it received {heard} and sent {said} messages, through receive and send."
    )
    question = "How can one call carry many messages?"
    return _moment("websocket-call", run, call, question, answer)


_QUESTIONS: tuple[Callable[[Plain], Moment | None], ...] = (
    _sync_call,
    _async_call,
    _async_view_under_wsgi,
    _sync_view_under_asgi,
    _async_view_under_asgi,
    _slow,
    _stream_under_wsgi,
    _stream_under_asgi,
    _refused_websocket,
    _one_call,
    _accepted_websocket,
)
