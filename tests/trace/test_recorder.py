"""Spans: who is within whom, across threads, and never more than there is room for."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from twogate.trace.recorder import Crossing, Recording, Span, current, enter, span


def root(recording: Recording) -> Span:
    return Span(recording, None, "request", "GET /")


def test_without_a_recording_nothing_is_recorded() -> None:
    with span("view", "page") as opened:
        assert opened is None
    assert current() is None


def test_spans_know_what_they_are_within() -> None:
    recording = Recording()
    outer = root(recording)
    with enter(outer):
        with span("view", "page", ("views.py", 3)) as view:
            with span("query", "SELECT 1") as query:
                assert current() is query
            assert current() is view
    assert current() is None
    assert view is not None and query is not None
    assert (view.parent, query.parent, view.place) == (outer, view, ("views.py", 3))
    assert outer.start <= view.start <= query.start <= query.end <= view.end


def test_a_span_says_what_it_ended_with() -> None:
    recording = Recording()
    with enter(root(recording)), pytest.raises(ValueError, match="no"):
        with span("view", "page"):
            raise ValueError("no")
    assert recording.spans[1].detail == {"error": "ValueError: no"}
    assert current() is None


def test_the_context_carries_the_span_to_a_thread() -> None:
    recording = Recording()
    with enter(root(recording)):
        context = contextvars.copy_context()

    def work() -> None:
        with span("view", "page"):
            pass

    thread = threading.Thread(target=context.run, args=(work,), name="elsewhere")
    thread.start()
    thread.join()
    assert (recording.spans[1].thread, recording.spans[1].task) == ("elsewhere", None)


def test_on_a_loop_a_span_has_its_task() -> None:
    recording = Recording()

    async def work() -> None:
        with enter(root(recording)):
            pass
        with enter(recording.spans[0]), span("view", "page"):
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.create_task(work(), name="mine")

    asyncio.run(main())
    assert [found.task for found in recording.spans] == ["mine", "mine"]


def test_a_recording_is_bounded_and_says_so() -> None:
    recording = Recording(limit=3)
    with enter(root(recording)):
        for number in range(5):
            with span("query", str(number)):
                pass
    assert (len(recording.spans), recording.left_out) == (3, 3)


def test_a_crossing_costs_what_is_not_spent_on_the_other_side() -> None:
    recording = Recording(limit=1)
    crossing = Crossing(root(recording), "to_thread", "page", ("view", "page"))
    crossing.start, crossing.begun, crossing.returned, crossing.end = 100, 130, 180, 200
    assert crossing.cost == 50
    crossing.begun = 0
    assert crossing.cost == 100
    assert recording.crossings == 1  # those left out are counted
