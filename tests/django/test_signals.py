"""The two signals of a request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.urls import get_urlconf, set_urlconf

from twogate.django import signals


def test_only_djangos_own_receivers_are_stood_in_for(urlconf: Callable[..., None]) -> None:
    urlconf()
    heard: list[Any] = []

    def receiver(sender: Any, **named: Any) -> None:
        heard.append((sender, named["environ"]))

    assert signals.started.plan is not None
    request_started.connect(receiver)
    try:
        assert signals.started.plan is None
        signals.started.send("sender", environ={"A": "B"})
        assert heard == [("sender", {"A": "B"})]
    finally:
        request_started.disconnect(receiver)
    assert signals.started.plan is not None


def test_what_is_disconnected_is_not_stood_in_for(urlconf: Callable[..., None]) -> None:
    urlconf()
    from django.db import close_old_connections

    before = signals.finished.plan
    assert before is not None
    request_finished.disconnect(close_old_connections)
    try:
        after = signals.finished.plan
        assert after is not None
        assert len(after) == len(before) - 1
    finally:
        request_finished.connect(close_old_connections)


def test_a_requests_urlconf_does_not_outlive_it(urlconf: Callable[..., None]) -> None:
    urlconf()
    from django.conf import settings

    signals.use_urlconf()
    assert get_urlconf() == settings.ROOT_URLCONF
    set_urlconf("another.urls")
    signals.finished.send("sender")
    assert get_urlconf() in (None, settings.ROOT_URLCONF)


def declared(sender: Any, **named: Any) -> None:
    HEARD.append((threading.current_thread(), sender))


HEARD: list[Any] = []


@pytest.mark.parametrize("by", ["decorator", "setting"])
def test_a_receiver_that_is_declared_is_called_on_the_loop(
    urlconf: Callable[..., None], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "decorator":
        monkeypatch.setitem(vars(declared), "twogate_nonblocking", True)
        urlconf()
    else:
        urlconf(TWOGATE_NONBLOCKING=[f"{declared.__module__}.{declared.__qualname__}"])
    HEARD.clear()
    request_finished.connect(declared)
    try:
        assert not signals.finished.may_block
        asyncio.run(signals.finished.asend("loop"))
        signals.finished.send("thread")
    finally:
        request_finished.disconnect(declared)
    assert [(threading.current_thread(), "loop"), (threading.current_thread(), "thread")] == HEARD


def test_a_receiver_of_some_senders_is_left_to_django(urlconf: Callable[..., None]) -> None:
    urlconf(TWOGATE_NONBLOCKING=[f"{declared.__module__}.{declared.__qualname__}"])
    HEARD.clear()
    request_finished.connect(declared, sender=str)
    try:
        assert signals.finished.may_block
        signals.finished.send(int)
        signals.finished.send(str)
    finally:
        request_finished.disconnect(declared, sender=str)
    assert [sender for _, sender in HEARD] == [str]


def test_a_stranger_is_told_on_a_thread(urlconf: Callable[..., None]) -> None:
    urlconf()
    HEARD.clear()
    request_finished.connect(declared)
    try:
        asyncio.run(signals.finished.asend("sender"))
    finally:
        request_finished.disconnect(declared)
    assert HEARD[0][0] is not threading.current_thread()
