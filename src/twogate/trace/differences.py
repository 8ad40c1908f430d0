"""Compares what two gateways answered, and says which differences are to be expected, and why.

Works on runs of the trace document and on whole bodies. Does no input or output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

__all__ = ["compare", "disagreements", "masked"]

Plain: TypeAlias = dict[str, Any]

#: A response of the trace document and its whole body, for each time the request was answered.
Answers: TypeAlias = Sequence[tuple[Plain, bytes]]

_CHANGES = "It changes from one request to the next, through the same gateway too."
#: Headers that say when.
_DATES = frozenset(("expires", "last-modified", "age"))
#: Headers that differ from one request to the next, through the same gateway.
_ALWAYS = frozenset(("date", "server-timing", "set-cookie", "sec-websocket-accept"))
#: What Django's pages for errors say while DEBUG is on.
_DEBUG_PAGE = b"<code>DEBUG = True</code>"
#: Tokens that Django draws anew for each answer, in forms and in scripts.
_TOKENS = (
    re.compile(rb'(name="csrfmiddlewaretoken"\s+value=")[A-Za-z0-9]{64}'),
    re.compile(rb"(csrf[-_]?token[\"']?\s*[:=]\s*[\"'])[A-Za-z0-9]{32,64}", re.IGNORECASE),
    re.compile(rb"(\bnonce[=-][\"']?)[A-Za-z0-9_+/=-]{16,}"),
)


def masked(body: bytes, secrets: Sequence[str] = ()) -> bytes:
    """A body without what is random in it.

    :param secrets: values, for example of cookies, that may be repeated in it.
    """
    for pattern in _TOKENS:
        body = pattern.sub(rb"\1***", body)
    for secret in secrets:
        if len(secret) >= 16:
            body = body.replace(secret.encode(), b"***")
    return body


def compare(left: Plain, right: Plain, answers: tuple[Answers, Answers]) -> list[Plain]:
    """All differences between two runs.

    :param answers: what they answered, whole; first the answer that is shown. Others to the same
        request tell what changes from one to the next, through the same gateway.
    :return: entries of ``differences`` in the trace document; ``expected`` says that such a
        difference is no fault.
    """
    return [
        {"what": what, "left": a, "right": b, "expected": expected, "why": why,
         "runs": [left["id"], right["id"]]}
        for what, a, b, expected, why in _differences(left, right, answers)
    ]  # fmt: skip


def disagreements(differences: Sequence[Plain]) -> list[Plain]:
    """Those that are not to be expected: the gateways answer differently."""
    return [found for found in differences if not found["expected"]]


_Found: TypeAlias = tuple[str, Any, Any, bool, str]


def _differences(left: Plain, right: Plain, answers: tuple[Answers, Answers]) -> Iterator[_Found]:
    one, other = left["response"], right["response"]
    if left.get("refused") or right.get("refused"):
        if left.get("refused") != right.get("refused"):
            yield ("refused", left.get("refused", "no"), right.get("refused", "no"), True,
                   "WSGI carries one request and one response, and no WebSocket.")  # fmt: skip
    else:
        yield from _answers(one, other, answers)
    yield from _work(left, right)


def _answers(one: Plain, other: Plain, answers: tuple[Answers, Answers]) -> Iterator[_Found]:
    if one["status"] != other["status"]:
        yield "status", one["status"], other["status"], False, "The answers differ."
    elif one["reason"] != other["reason"]:
        yield ("reason", one["reason"], other["reason"], True,
               "ASGI has no reason phrase: the server writes the usual one.")  # fmt: skip
    yield from _headers(one, other, answers)
    yield from _cookies(one, other)
    yield from _bodies(answers)


def _bodies(answers: tuple[Answers, Answers]) -> Iterator[_Found]:
    secrets = [value for some in answers for response, _ in some for value in _values(response)]
    bodies = [[masked(body, secrets) for _, body in some] for some in answers]
    left, right = bodies[0][0], bodies[1][0]
    if left == right:
        return
    if all(_DEBUG_PAGE in body for body in (left, right)):
        yield ("body", f"{len(left)} bytes", f"{len(right)} bytes", True,
               "Django's page for errors shows the calls that led there.")  # fmt: skip
    elif _steady(left, bodies) == _steady(right, bodies):
        yield ("body", _where(left, right), _where(right, left), True, _CHANGES)
    else:
        yield (
            "body", _where(left, right), _where(right, left), False,
            "The bodies differ (CSRF tokens and nonces are not compared).",
        )  # fmt: skip


def _steady(body: bytes, bodies: Sequence[Sequence[bytes]]) -> list[bytes] | None:
    """The lines that are the same each time through the same gateway; ``None`` where even their
    number is not."""
    changing: set[int] = set()
    lines = body.split(b"\n")
    for some in bodies:
        first = some[0].split(b"\n")
        for another in some[1:]:
            other = another.split(b"\n")
            if len(other) != len(first):
                return None
            changing.update(n for n, line in enumerate(first) if line != other[n])
    return [line for number, line in enumerate(lines) if number not in changing]


def _headers(one: Plain, other: Plain, answers: tuple[Answers, Answers]) -> Iterator[_Found]:
    left, right = _by_name(one["headers"]), _by_name(other["headers"])
    changing = _changing_headers(answers)
    for name in sorted(left.keys() | right.keys()):
        if name in _ALWAYS or left.get(name) == right.get(name):
            continue
        expected, why = False, "The answers differ."
        if name in ("transfer-encoding", "content-length"):
            expected, why = True, "How long the body is said to be follows the body."
        elif name in changing or (name in _DATES and name in left and name in right):
            expected, why = True, _CHANGES
        yield f"header {name}", left.get(name, "absent"), right.get(name, "absent"), expected, why


def _changing_headers(answers: tuple[Answers, Answers]) -> set[str]:
    """Those that are not the same each time through the same gateway."""
    found: set[str] = set()
    for some in answers:
        first = _by_name(some[0][0]["headers"])
        for response, _ in some[1:]:
            other = _by_name(response["headers"])
            found |= {n for n in first.keys() | other.keys() if first.get(n) != other.get(n)}
    return found


def _by_name(headers: list[list[str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _cookies(one: Plain, other: Plain) -> Iterator[_Found]:
    left, right = one["cookies"], other["cookies"]
    for name in sorted(left.keys() | right.keys()):
        a, b = _attributes(left.get(name)), _attributes(right.get(name))
        if a != b:
            yield f"cookie {name}", a, b, False, "The answers differ (values are not compared)."


def _attributes(cookie: str | None) -> str:
    """A cookie without its value and its date, which are new each time."""
    if cookie is None:
        return "absent"
    parts = [part.strip() for part in cookie.split(";")[1:]]
    emptied = cookie.split(";")[0].partition("=")[2] in ("", '""')
    kept = [part for part in parts if not part.lower().startswith("expires=")]
    return "; ".join(["deleted" if emptied else "set", *kept])


def _values(response: Plain) -> list[str]:
    return [
        cookie.split(";")[0].partition("=")[2].strip('"') for cookie in response["cookies"].values()
    ]


def _where(body: bytes, other: bytes) -> str:
    """The first place at which a body differs, with what is around it."""
    size = min(len(body), len(other))
    at = next((i for i in range(size) if body[i] != other[i]), size)
    shown = body[at : at + 60].decode("utf-8", "replace")
    return f"{shown or 'nothing more'} (from byte {at} of {len(body)})"


def _work(left: Plain, right: Plain) -> Iterator[_Found]:
    one, other = left["counts"], right["counts"]
    if one["crossings"] != other["crossings"]:
        yield ("crossings", one["crossings"], other["crossings"], True,
               "What a gateway and a handler need of threads and loops.")  # fmt: skip
    if one["queries"] != other["queries"]:
        why = "The work is not the answer, but should be the same: is something cached?"
        yield "queries", one["queries"], other["queries"], True, why
    if one["connections_opened"] != other["connections_opened"]:
        yield (
            "connections opened", one["connections_opened"], other["connections_opened"], True,
            "A connection belongs to a thread: a thread that is made anew opens one anew.",
        )  # fmt: skip
    if one["threads_started"] != other["threads_started"]:
        yield ("threads started", one["threads_started"], other["threads_started"], True,
               "A thread that is kept need not be started.")  # fmt: skip
    yield "time (µs)", left["duration_us"], right["duration_us"], True, "One request, not a load."
