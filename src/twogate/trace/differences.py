"""Compares what two gateways answered, and says which differences are to be expected, and why.

Works on runs of the trace document and on whole bodies. Does no input or output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

__all__ = ["compare", "disagreements", "masked"]

Plain: TypeAlias = dict[str, Any]

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


def compare(left: Plain, right: Plain, bodies: tuple[bytes, bytes]) -> list[Plain]:
    """All differences between two runs.

    :param bodies: what they sent, whole.
    :return: entries of ``differences`` in the trace document; ``expected`` says that such a
        difference is no fault.
    """
    return [
        {"what": what, "left": a, "right": b, "expected": expected, "why": why,
         "runs": [left["id"], right["id"]]}
        for what, a, b, expected, why in _differences(left, right, bodies)
    ]  # fmt: skip


def disagreements(differences: Sequence[Plain]) -> list[Plain]:
    """Those that are not to be expected: the gateways answer differently."""
    return [found for found in differences if not found["expected"]]


_Found: TypeAlias = tuple[str, Any, Any, bool, str]


def _differences(left: Plain, right: Plain, bodies: tuple[bytes, bytes]) -> Iterator[_Found]:
    one, other = left["response"], right["response"]
    if left.get("refused") or right.get("refused"):
        if left.get("refused") != right.get("refused"):
            yield ("refused", left.get("refused", "no"), right.get("refused", "no"), True,
                   "WSGI carries one request and one response, and no WebSocket.")  # fmt: skip
    else:
        yield from _answers(one, other, bodies)
    yield from _work(left, right)


def _answers(one: Plain, other: Plain, bodies: tuple[bytes, bytes]) -> Iterator[_Found]:
    if one["status"] != other["status"]:
        yield "status", one["status"], other["status"], False, "The answers differ."
    elif one["reason"] != other["reason"]:
        yield ("reason", one["reason"], other["reason"], True,
               "ASGI has no reason phrase: the server writes the usual one.")  # fmt: skip
    yield from _headers(one, other)
    yield from _cookies(one, other)
    secrets = [*_values(one), *_values(other)]
    left, right = (masked(body, secrets) for body in bodies)
    if left != right and all(_DEBUG_PAGE in body for body in bodies):
        yield ("body", f"{len(left)} bytes", f"{len(right)} bytes", True,
               "Django's page for errors shows the calls that led there.")  # fmt: skip
    elif left != right:
        yield (
            "body", _where(left, right), _where(right, left), False,
            "The bodies differ (CSRF tokens and nonces are not compared); the page may show what"
            " changes with each request.",
        )  # fmt: skip


def _headers(one: Plain, other: Plain) -> Iterator[_Found]:
    left, right = _by_name(one["headers"]), _by_name(other["headers"])
    for name in sorted(left.keys() | right.keys()):
        if name in _ALWAYS or left.get(name) == right.get(name):
            continue
        framing = name in ("transfer-encoding", "content-length")
        yield (
            f"header {name}", left.get(name, "absent"), right.get(name, "absent"), framing,
            "How long the body is said to be follows the body." if framing
            else "The answers differ.",
        )  # fmt: skip


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
    shown = body[max(0, at - 8) : at + 50].decode("utf-8", "replace")
    return f"byte {at} of {len(body)}: …{shown}"


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
