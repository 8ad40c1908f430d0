"""One process's part of a layer, beside another's in the same process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twogate.realtime import statistics
from twogate.realtime.bus import Bus
from twogate.realtime.folder import RuntimeFolder

from .conftest import descriptors, run, sockets, wait_until

MakeBus = Callable[..., Bus]


@pytest.fixture
def make_bus(folder: Path) -> Iterator[MakeBus]:
    before = descriptors()
    made: list[Bus] = []

    def make(**options: Any) -> Bus:
        defaults = {"expiry": 60.0, "group_expiry": 100.0, "max_size": 1 << 20}
        made.append(
            Bus(RuntimeFolder("a", folder), capacity=lambda channel: 3, **{**defaults, **options})
        )
        return made[-1]

    yield make
    for bus in made:
        bus.close()
    assert sockets(folder) == []
    assert descriptors() == before


async def nothing_comes(bus: Bus, channel: str) -> bool:
    try:
        await asyncio.wait_for(bus.get(channel), 0.1)
    except TimeoutError:
        return True
    return False


def test_a_channel_has_one_home(make_bus: MakeBus) -> None:
    a, b = make_bus(), make_bus()
    channel = a.new_channel("some.prefix.")
    assert channel.startswith(f"some.prefix.{a.node.name}!")
    assert channel != a.new_channel("some.prefix.")
    assert (a.is_at_home(channel), b.is_at_home(channel)) == (True, False)


def test_a_message_goes_to_the_channel_wherever_it_is_at_home(make_bus: MakeBus) -> None:
    a, b = make_bus(), make_bus()
    channel = a.new_channel("p.")
    assert a.send(channel, b"1")
    assert b.send(channel, b"2")

    async def main() -> list[bytes]:
        return [await a.get(channel) for _ in range(2)]

    assert sorted(run(main())) == [b"1", b"2"]
    assert (a.statistics().sent, a.statistics().received) == (1, 2)


def test_a_full_channel_is_told_at_home_and_counted_from_afar(make_bus: MakeBus) -> None:
    a, b = make_bus(), make_bus()
    channel = a.new_channel("p.")
    assert [a.send(channel, b"x") for _ in range(4)] == [True, True, True, False]
    assert b.send(channel, b"x")
    wait_until(lambda: a.statistics().dropped["capacity"] == 1)
    assert a.statistics().queued == 3


def test_what_is_sent_to_nobody_is_counted(make_bus: MakeBus) -> None:
    a = make_bus()
    assert a.send("p.000000000000!x", b"1")
    assert a.send("short!x", b"1")
    a.join("g", "p.000000000000!x")
    assert a.statistics().dropped["gone"] == 3


def test_groups_span_processes(make_bus: MakeBus) -> None:
    a, b = make_bus(), make_bus()
    mine, theirs, other = a.new_channel("p."), b.new_channel("p."), b.new_channel("p.")
    a.join("g", mine)
    b.join("g", theirs)
    a.join("g", other)  # from afar
    a.send_to_group("g", b"1")
    a.leave("g", other)
    a.leave("g", mine)
    a.send_to_group("g", b"2")
    wait_until(lambda: b.mailbox.sizes()[0] == 3)

    async def main() -> None:
        assert [await b.get(theirs), await b.get(theirs)] == [b"1", b"2"]
        assert [await a.get(mine), await b.get(other)] == [b"1", b"1"]
        assert await nothing_comes(a, mine)
        assert await nothing_comes(b, other)

    run(main())
    assert (b.statistics().groups, b.statistics().members, a.statistics().peers) == (1, 1, 1)


def test_news_of_a_stored_message_reaches_whoever_waits(make_bus: MakeBus) -> None:
    a, b, c = make_bus(), make_bus(), make_bus()
    a.node.listen()

    async def main() -> None:
        waiters = [bus.mailbox.wait("jobs") for bus in (a, b)]
        b.announce("jobs")
        assert waiters[1].done()
        await waiters[0]
        again = a.mailbox.wait("jobs")
        c.announce("jobs")
        await again

    run(main())


def test_what_expires_is_removed_though_nobody_looks(make_bus: MakeBus) -> None:
    a, b = make_bus(expiry=0.05), make_bus(expiry=0.05)
    channel = a.new_channel("p.")
    a.send(channel, b"1")
    wait_until(lambda: a.mailbox.sizes()[0] == 0)
    b.send(channel, b"2")
    wait_until(lambda: a.statistics().dropped["expired"] == 2)


def test_flush_empties_all_processes_before_it_returns(make_bus: MakeBus) -> None:
    a, b, c = make_bus(), make_bus(), make_bus()
    for bus in (a, b):
        channel = bus.new_channel("p.")
        bus.join("g", channel)
    c.send_to_group("g", b"1")
    c.flush()
    assert [bus.mailbox.sizes() for bus in (a, b)] == [(0, 0, 0)] * 2
    a.send(channel, b"2")  # and all goes on
    wait_until(lambda: b.mailbox.sizes()[0] == 1)


def test_drops_are_logged_though_the_process_is_idle(
    make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(statistics, "DELAY", 0.05)
    a = make_bus()
    begun = time.monotonic()
    a.send("p.000000000000!x", b"1")
    wait_until(lambda: "1 for a process that is gone" in caplog.text)
    assert time.monotonic() - begun >= 0.05


def test_drops_are_logged_at_the_end(make_bus: MakeBus, caplog: pytest.LogCaptureFixture) -> None:
    a = make_bus()
    a.send("p.000000000000!x", b"1")
    a.close()
    assert "dropped 1 messages" in caplog.text
