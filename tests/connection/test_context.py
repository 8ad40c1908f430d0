"""What the connections of one server share: the books it keeps of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from twogate.connection.context import Context
from twogate.observe.observer import Observer
from twogate.protocol.http1_reader import Limits


class Connected:
    """A connection that does nothing."""

    lasts = False

    def tick(self, now: float) -> None:
        raise AssertionError("nobody sweeps here")

    drain = abort = lambda self: None


@pytest.fixture
def context() -> Iterator[Context]:
    loop = asyncio.new_event_loop()
    yield Context(loop, lambda exchange: None, Observer(), Limits(), 5.0, 10.0, 30.0)
    loop.close()


def test_the_last_connection_of_a_server_that_stops_ends_the_wait(context: Context) -> None:
    first, last = Connected(), Connected()
    context.connections |= {first, last}
    context.draining = True
    context.forget(first)
    assert not context.drained.is_set()
    context.forget(last)
    assert context.drained.is_set()
    assert context.connections == set()


def test_a_server_that_goes_on_is_not_drained_when_nobody_is_connected(context: Context) -> None:
    only = Connected()
    context.connections.add(only)
    context.forget(only)
    assert not context.drained.is_set()


def test_a_connection_may_be_forgotten_twice(context: Context) -> None:
    context.forget(Connected())
    context.draining = True
    context.forget(Connected())
    assert context.drained.is_set()


def test_servers_share_nothing(context: Context) -> None:
    other = Context(context.loop, context.dispatch, Observer(), Limits(), 5.0, 10.0, 30.0)
    other.connections.add(Connected())
    assert context.connections == set()
