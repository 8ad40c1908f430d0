"""What is seen of what code leaves on a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

LOCAL = threading.local()


@pytest.fixture(autouse=True)
def traces(urlconf: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    urlconf()
    from twogate.django import traces

    monkeypatch.setattr(traces, "_thread_locals", [])
    monkeypatch.setattr(traces, "_marks_are_used", False)
    traces.look_around()
    yield traces
    vars(LOCAL).clear()


@pytest.mark.parametrize("value", [5, "text", [1], None])
def test_a_thread_local_that_is_set_is_seen(traces: Any, value: Any) -> None:
    before = traces.traces()
    assert not traces.has_changed(before)
    LOCAL.value = value
    assert traces.has_changed(before)


def test_a_list_that_grows_in_a_thread_local_is_seen(traces: Any) -> None:
    LOCAL.values = []
    before = traces.traces()
    LOCAL.values.append(1)
    assert traces.has_changed(before)


def test_what_is_set_aside_comes_back_in_the_place_of_what_is_there(traces: Any) -> None:
    LOCAL.mine = 1
    aside = traces.set_aside()
    assert not hasattr(LOCAL, "mine")
    LOCAL.yours = 2
    traces.bring_back(aside)
    assert vars(LOCAL) == {"mine": 1}


def test_what_is_spared_is_left_alone(traces: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_spared", [*traces._spared])
    traces.spare(LOCAL)
    traces.look_around()
    before = traces.traces()
    LOCAL.value = 1
    assert not traces.has_changed(before)
    aside = traces.set_aside()
    assert LOCAL.value == 1
    traces.bring_back(aside)


def test_once_a_connection_is_marked_every_call_counts(traces: Any) -> None:
    from django.db import connection

    before = traces.traces()
    connection.tenant = 5
    try:
        assert traces.has_changed(before)
        again = traces.traces()
        connection.tenant = 5
        assert traces.has_changed(again)
    finally:
        del connection.tenant
