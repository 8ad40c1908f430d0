"""Traces one request through each gateway: starts processes that serve, asks them, and compares.

Runs in the process of the command, which never imports the project. Each process it starts is named
by a module that is handed in, takes orders on its standard input and ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from twogate.errors import ProjectError
from twogate.trace.client import Request, ask, talk
from twogate.trace.conclusions import conclude
from twogate.trace.differences import Answers, compare
from twogate.trace.timeline import FORMAT, discreet, make_run

__all__ = ["SAFE", "Host", "trace", "trace_by"]

Plain: TypeAlias = dict[str, Any]

#: Methods that should change nothing (RFC 9110 §9.2.1).
SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
#: Characters of what a process wrote that are shown when it dies.
_LAST_WORDS = 2000


@dataclass(slots=True, frozen=True)
class _Way:
    """One way through the server."""

    identity: str
    title: str
    gateway: str
    stock: bool
    handler: str


_HTTP = (
    _Way("wsgi", "HTTP through WSGI", "wsgi", False, "Twogate's WSGI handler"),
    _Way("asgi-stock", "HTTP through ASGI, Django's handler", "asgi", True, "Django's"),
    _Way("asgi", "HTTP through ASGI, Twogate's handler", "asgi", False, "Twogate's"),
)
_WEBSOCKET = (
    _Way("ws-wsgi", "WebSocket where there is only WSGI", "wsgi", False, "none"),
    _Way("ws-asgi", "WebSocket through ASGI", "asgi", False, "the application's"),
)


class Host:
    """A process that serves the project, and records.

    :param module: what Python is to run.
    :param flags: options as attribute names and values; with ``traceback``, what the process
        writes to standard error is shown, and else only if it dies.
    :param folder: that of the project; else the current one.
    :param environment: what the process finds in its environment; else all that is in ours.
    :raises ProjectError: the project does not load.
    """

    def __init__(
        self,
        module: str,
        flags: Plain,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        quiet = not flags.get("traceback")
        self._errors = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115 - see close()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", module, json.dumps(flags)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=folder,
            # The same order of sets in both processes, for pages that show it.
            env={
                "PYTHONHASHSEED": "0",
                **(os.environ if environment is None else environment),
                "PYTHONUNBUFFERED": "1",
            },
        )
        try:
            self.facts: Plain = self._read()["ready"]
        except BaseException:
            self.close()
            raise

    def tell(self, order: str, **more: Any) -> Plain:
        """Give an order and wait for its answer.

        :raises ProjectError: it cannot be done.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it has said before tells why
            self._process.stdin.write(json.dumps({"do": order, **more}) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> Plain:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise ProjectError(
                f"The process that serves the project has ended (status {status}).{self._said()}",
                "twogate serve --check-config tells more.",
            )
        answer: Plain = json.loads(line)
        if "error" in answer:
            raise ProjectError(answer["error"], answer.get("mend", ""))
        return answer

    def _said(self) -> str:
        """The end of what it wrote."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()
        return f"\n{said[-_LAST_WORDS:]}" if said else ""

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once, also while another thread waits for its answer; then close it."""
        self._process.kill()

    def close(self) -> None:
        """End it."""
        try:
            self._close()
        finally:
            if self._errors is not None:
                self._errors.close()

    def _close(self) -> None:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(10)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        process.stdout.close()


def trace(
    module: str, flags: Plain, request: Request, *, user: str | None = None, repeat: int = 1
) -> Plain:
    """Send a request through each gateway.

    :param module: the module of the processes that serve; see :class:`Host`.
    :param flags: options of the server as attribute names and values.
    :param user: log in as this user; the session lasts as long as the trace.
    :param repeat: requests through each gateway; the one with the median duration is shown.
    :return: the trace document.
    :raises ProjectError: the project does not load, or there is no such user.
    """
    ways = _HTTP if request.messages is None else _WEBSOCKET
    traced = _Traced(request, user, repeat)
    for stock in sorted({way.stock for way in ways}):
        with contextlib.closing(Host(module, {**flags, "stock_handler": stock})) as host:
            traced.ask(host, [way for way in ways if way.stock == stock])
    return traced.document([way.identity for way in ways])


def trace_by(host: Host, request: Request) -> Plain:
    """Send a request through each gateway of a host that is kept, with Twogate's handlers.

    :param host: one without ``stock_handler``; it can be asked again afterwards.
    :return: the trace document.
    :raises ProjectError: the host has ended, or an application has not returned.
    :raises OSError: the host does not answer.
    """
    ways = _HTTP if request.messages is None else _WEBSOCKET
    own = [way for way in ways if not way.stock]
    traced = _Traced(request, None, 1)
    traced.ask(host, own)
    return traced.document([way.identity for way in own])


class _Traced:
    """One request on its ways, and what is known of it so far."""

    def __init__(self, request: Request, user: str | None, repeat: int) -> None:
        self._request = request
        self._user = user
        self._repeat = repeat
        self._runs: dict[str, Plain] = {}
        self._answers: dict[str, Answers] = {}
        self._facts: Plain = {}
        self._chosen: Plain = {}

    def ask(self, host: Host, ways: Sequence[_Way]) -> None:
        """Send it these ways."""
        request = self._request
        self._facts = self._facts or host.facts
        ready = _prepared(request, host, self._user)
        if request.messages is None and not ways[0].stock:
            self._chosen = host.tell("choose", method=request.method, path=request.path)
        for way in ways:
            run, answers = _trace_way(host, way, ready, self._repeat)
            self._runs[way.identity], self._answers[way.identity] = run, answers

    def document(self, order: Sequence[str]) -> Plain:
        """The trace document, with the runs in this order."""
        request, facts = self._request, self._facts
        runs = [self._runs[identity] for identity in order]
        right = runs[-1]
        differences: list[Plain] = []
        for left in runs[:-1]:
            answers = self._answers[left["id"]], self._answers[right["id"]]
            differences += compare(left, right, answers)
        asked: Plain = {
            "method": request.method, "path": request.path,
            "headers": discreet([[name, value] for name, value in request.headers]),
            "body": request.body.decode("utf-8", "replace"), "user": self._user,
            "repeat": self._repeat,
        }  # fmt: skip
        if request.messages is not None:
            asked["websocket_messages"] = list(request.messages)
        project = {
            name: facts.get(name) for name in ("settings", "debug", "middleware", "notes", "folder")
        }
        document: Plain = {
            "format": FORMAT,
            "versions": facts["versions"],
            "project": {**project, "chosen": self._chosen},
            "request": asked,
            "runs": runs,
            "differences": differences,
        }
        document["conclusions"] = conclude(document)
        return document


def _prepared(request: Request, host: Host, user: str | None) -> Request:
    """The request with the host's name, the user's session and what CSRF protection asks for."""
    facts = host.facts
    cookies: list[str] = []
    headers = [(name, value) for name, value in request.headers if name.lower() != "cookie"]
    cookies += [value for name, value in request.headers if name.lower() == "cookie"]
    given = {name.lower() for name, _ in request.headers}
    if user is not None:
        name, key = host.tell("login", user=user)["cookie"]
        cookies.append(f"{name}={key}")
    if request.method not in SAFE and facts["csrf_header"].lower() not in given:
        secret = "t" * 32
        cookies.append(f"{facts['csrf_cookie']}={secret}")
        headers.append((facts["csrf_header"], secret))
    if cookies:
        headers.append(("Cookie", "; ".join(cookies)))
    return replace(request, headers=headers, host=facts["host"])


def _trace_way(host: Host, way: _Way, request: Request, repeat: int) -> tuple[Plain, Answers]:
    """The run, and all answers to the request: first that of the run."""
    port = host.tell("start", gateway=way.gateway)["port"]
    send = ask if request.messages is None else talk
    # Not shown: imports, caches and connections of the first request are not what is measured.
    before = send(port, warming := _warming(request))
    host.tell("take", count=1)
    seen = [send(port, request)]
    recorded = list(host.tell("take", count=1)["recordings"])
    for _ in range(repeat - 1):
        seen.append(send(port, request))
        recorded += host.tell("take", count=1)["recordings"]
    if len(recorded) < len(seen):
        raise ProjectError(
            f"The {way.gateway.upper()} application answered, and has not returned yet.",
            "Is there work after the response that does not end?",
        )
    times = [one["ended"] - one["sent"] for one in seen]
    middle = times.index(statistics.median_low(times))
    run = make_run(way.identity, way.title, way.handler, recorded[middle], seen[middle])
    for fact in ("refused", "heard", "close_code"):
        if fact in seen[middle]:
            run[fact] = seen[middle][fact]
    if seen[middle]["cut"]:
        run["cut"] = True
    if repeat > 1:
        run["repeat"] = {
            "times": repeat, "median_us": round(statistics.median(times) / 1000, 1),
            "fastest_us": round(min(times) / 1000, 1), "slowest_us": round(max(times) / 1000, 1),
        }  # fmt: skip
    others = [one for one in seen if one is not seen[middle]]
    if warming == request:
        others.append(before)
    return run, [(one["response"], one["body"]) for one in (seen[middle], *others)]


def _warming(request: Request) -> Request:
    if request.messages is not None:
        return replace(request, messages=())
    if request.method in SAFE:
        return request
    return replace(request, method="GET", body=b"")
