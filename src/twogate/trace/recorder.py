"""Records what happens while one request is answered: a bounded tree of spans with their threads.

The span that is open is a context variable. asgiref carries the context to threads and back, so
whatever begins anywhere finds who asked for it. Knows neither Django nor asgiref; any thread may
record. Where no recording is under way, to open a span costs a look at that variable.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextvars import ContextVar
from types import TracebackType
from typing import Any

__all__ = ["LIMIT", "Crossing", "Recording", "Span", "current", "enter", "span"]

#: Spans that one recording keeps unless it is told otherwise.
LIMIT = 5000

_open: ContextVar[Span | None] = ContextVar("twogate.span", default=None)


class Span:
    """Something that began and ended.

    :ivar recording: where it is kept.
    :ivar id: counts from 1 in its recording.
    :ivar parent: the span it began in, or ``None`` for the first.
    :ivar kind: ``request``, ``protocol``, ``dispatch``, ``gateway``, ``handler``, ``middleware``,
        ``view``, ``receiver``, ``template``, ``query``, ``connect``, ``crossing``, ``wait`` or
        ``response``.
    :ivar start: nanoseconds of :func:`time.perf_counter_ns`; likewise ``end``, 0 while it is open.
    :ivar thread: the name of the thread it began on.
    :ivar task: the name of the task, where a loop runs there.
    :ivar place: (file, line) of its code, where that is known.
    :ivar detail: what else there is to say; values fit JSON.
    """

    __slots__ = (
        "detail", "end", "id", "kind", "name", "parent", "place", "recording", "start", "task",
        "thread",
    )  # fmt: skip

    def __init__(
        self,
        recording: Recording,
        parent: Span | None,
        kind: str,
        name: str,
        place: tuple[str, int] | None = None,
        start: int = 0,
    ) -> None:
        self.recording = recording
        self.parent = parent
        self.kind = kind
        self.name = name
        self.place = place
        self.detail: dict[str, Any] = {}
        self.thread = threading.current_thread().name
        self.task = _task()
        self.end = 0
        self.id = recording.keep(self)
        self.start = start or time.perf_counter_ns()

    def close(self, error: BaseException | None = None) -> None:
        """It ends now.

        :param error: what it ended with.
        """
        self.end = time.perf_counter_ns()
        if error is not None:
            self.detail["error"] = f"{type(error).__name__}: {error}"[:500]


class Crossing(Span):
    """A span that waits for code on the other side: a thread, or a loop.

    :ivar direction: ``"to_thread"`` or ``"to_loop"``.
    :ivar begun: when the code began there, in nanoseconds; 0 before that. Likewise ``returned``.
    :ivar to_thread: the thread on which it ran.
    :ivar cause: (kind, name) of what made it necessary.
    """

    __slots__ = ("begun", "cause", "direction", "returned", "to_thread")

    def __init__(self, parent: Span, direction: str, name: str, cause: tuple[str, str]) -> None:
        self.direction = direction
        self.cause = cause
        self.begun = self.returned = 0
        self.to_thread = ""
        super().__init__(parent.recording, parent, "crossing", name)
        parent.recording.crossings += 1

    def arrive(self) -> None:
        """The code on the other side begins; called there."""
        self.to_thread = threading.current_thread().name
        self.begun = time.perf_counter_ns()

    def leave(self) -> None:
        """The code on the other side has ended; called there."""
        self.returned = time.perf_counter_ns()

    @property
    def cost(self) -> int:
        """Nanoseconds on the way there and back, without the code that ran there."""
        whole = self.end - self.start
        return whole - (self.returned - self.begun) if self.begun and self.returned else whole


class Recording:
    """What happened for one request.

    :param limit: spans at most; what comes later is counted in :attr:`left_out` alone.
    :ivar crossings: how many there were, those left out included.
    :ivar counts: how often what happened, by name.
    :ivar facts: what is known of the request besides.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.spans: list[Span] = []
        self.left_out = 0
        self.crossings = 0
        self.counts: dict[str, int] = {}
        self.facts: dict[str, Any] = {}
        self._limit = limit
        self._ids = itertools.count(1)

    def keep(self, span: Span) -> int:
        """Keep a span, if there is room.

        :return: its number.
        """
        if len(self.spans) < self._limit:
            self.spans.append(span)
        else:
            self.left_out += 1
        return next(self._ids)

    def count(self, name: str, more: int = 1) -> None:
        """Count an event."""
        self.counts[name] = self.counts.get(name, 0) + more


def _task() -> str | None:
    if asyncio._get_running_loop() is None:
        return None
    task = asyncio.current_task()
    return "callback" if task is None else task.get_name()


def current() -> Span | None:
    """The innermost span that is open here; ``None`` where nothing is recorded."""
    return _open.get()


class enter:  # noqa: N801 - used like a function
    """Let what runs within the block belong to a span that is open already.

    :param span: ``None`` for no recording at all.
    """

    __slots__ = ("_before", "_span")

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def __enter__(self) -> Span | None:
        self._before = _open.get()
        _open.set(self._span)
        return self._span

    def __exit__(self, *_: object) -> None:
        # Not by a token: a coroutine that is thrown away is closed in another context.
        _open.set(self._before)


class span:  # noqa: N801 - used like a function
    """Record a span around the block, if a recording is under way.

    :param kind: see :class:`Span`.
    :param place: (file, line) of its code.
    """

    __slots__ = ("_before", "_kind", "_name", "_place", "_span")

    def __init__(self, kind: str, name: str, place: tuple[str, int] | None = None) -> None:
        self._kind, self._name, self._place = kind, name, place

    def __enter__(self) -> Span | None:
        before = self._before = _open.get()
        if before is None:
            self._span = None
            return None
        self._span = Span(before.recording, before, self._kind, self._name, self._place)
        _open.set(self._span)
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._span is not None:
            self._span.close(error)
            _open.set(self._before)
