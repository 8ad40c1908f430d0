"""Channels and groups of one process, between threads and loops."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from twogate.realtime.mailbox import Mailbox
from twogate.realtime.statistics import Drops

from .conftest import Clock, run, wait_until


@pytest.fixture
def drops() -> Drops:
    return Drops(lambda: None)


@pytest.fixture
def mailbox(clock: Clock, drops: Drops) -> Mailbox:
    return Mailbox(lambda channel: 1 if channel == "tiny" else 3, 100.0, drops, clock)


LATER = 2000.0


async def ready(mailbox: Mailbox, channel: str) -> list[bytes]:
    """What waits in a channel."""
    got = []
    task = asyncio.create_task(mailbox.get(channel))
    while (await asyncio.wait([task], timeout=0.01))[0]:
        got.append(task.result())
        task = asyncio.create_task(mailbox.get(channel))
    task.cancel()
    await asyncio.wait([task])
    return got


def test_messages_wait_in_order(mailbox: Mailbox) -> None:
    assert mailbox.put("a", LATER, b"1") and mailbox.put("a", LATER, b"2")
    assert mailbox.sizes() == (2, 0, 0)
    assert run(ready(mailbox, "a")) == [b"1", b"2"]
    assert mailbox.received == 2
    assert mailbox.sizes() == (0, 0, 0)


def test_a_full_channel_takes_no_more(mailbox: Mailbox) -> None:
    assert [mailbox.put("a", LATER, b"x") for _ in range(4)] == [True, True, True, False]
    assert [mailbox.put("tiny", LATER, b"x") for _ in range(2)] == [True, False]


def test_a_group_reaches_its_members_and_counts_who_is_full(mailbox: Mailbox, drops: Drops) -> None:
    for channel in ("a", "b", "tiny"):
        mailbox.join("g", channel)
    mailbox.join("g", "a")
    mailbox.leave("g", "b")
    mailbox.leave("g", "nobody")
    mailbox.leave("h", "a")
    assert mailbox.put_to_group("g", LATER, b"1") and mailbox.put_to_group("g", LATER, b"2")
    assert not mailbox.put_to_group("h", LATER, b"3")
    assert [run(ready(mailbox, channel)) for channel in ("a", "b", "tiny")] == [
        [b"1", b"2"], [], [b"1"],
    ]  # fmt: skip
    assert drops.counts()["capacity"] == 1


def test_what_has_expired_is_not_received(mailbox: Mailbox, clock: Clock, drops: Drops) -> None:
    mailbox.put("a", clock.now + 1, b"1")
    mailbox.put("a", clock.now + 5, b"2")
    clock.now += 2
    assert run(ready(mailbox, "a")) == [b"2"]
    assert drops.counts()["expired"] == 1


def test_a_sweep_removes_what_nobody_receives(mailbox: Mailbox, clock: Clock, drops: Drops) -> None:
    mailbox.put("a", clock.now + 1, b"1")
    mailbox.put("b", clock.now + 5, b"2")
    assert mailbox.sweep()
    clock.now += 2
    assert mailbox.sweep()
    assert mailbox.sizes() == (1, 0, 0)
    clock.now += 10
    assert not mailbox.sweep()
    assert drops.counts()["expired"] == 2


def test_a_membership_ends_unless_it_is_renewed(mailbox: Mailbox, clock: Clock) -> None:
    mailbox.join("g", "a")
    mailbox.join("g", "b")
    clock.now += 60
    mailbox.join("g", "a")
    clock.now += 60
    mailbox.put_to_group("g", LATER, b"1")
    assert mailbox.sizes() == (1, 1, 1)
    clock.now += 60
    mailbox.put_to_group("g", LATER, b"2")
    assert mailbox.sizes() == (1, 0, 0)


def test_only_an_abandoned_channel_leaves_its_groups_when_a_message_expires(
    mailbox: Mailbox, clock: Clock
) -> None:
    async def main() -> None:
        for channel in ("slow", "ended"):
            mailbox.join("g", channel)
            mailbox.put(channel, clock.now + 1, b"0")
            assert await mailbox.get(channel) == b"0"
        assert await ready(mailbox, "ended") == []  # its receiver was cancelled
        mailbox.put_to_group("g", clock.now + 1, b"1")
        clock.now += 2
        mailbox.sweep()
        assert mailbox.sizes() == (0, 1, 1)
        mailbox.put_to_group("g", clock.now + 1, b"2")
        assert await ready(mailbox, "slow") == [b"2"]

    run(main())


def test_clear_forgets_all_but_who_waits(mailbox: Mailbox) -> None:
    async def main() -> None:
        waiting = asyncio.create_task(mailbox.get("a"))
        mailbox.put("b", LATER, b"1")
        mailbox.join("g", "b")
        await asyncio.sleep(0)
        mailbox.clear()
        assert mailbox.sizes() == (0, 0, 0)
        mailbox.put("a", LATER, b"2")
        assert await waiting == b"2"

    run(main())


@pytest.mark.parametrize("turns", range(4))
def test_a_cancelled_receiver_takes_nothing_with_it(mailbox: Mailbox, turns: int) -> None:
    async def main() -> None:
        first = asyncio.create_task(mailbox.get("a"))
        second = asyncio.create_task(mailbox.get("a"))
        await asyncio.sleep(0)
        mailbox.put("a", LATER, b"1")
        for _ in range(turns):
            await asyncio.sleep(0)
        if first.cancel():
            await asyncio.wait([first])
            assert await second == b"1"
        else:
            assert await first == b"1"
            second.cancel()

    run(main())


def test_whoever_waits_for_news_is_woken(mailbox: Mailbox) -> None:
    async def main() -> None:
        waiters = [mailbox.wait("a"), mailbox.wait("a"), mailbox.wait("b")]
        mailbox.wake("a")
        assert [waiter.done() for waiter in waiters] == [True, True, False]
        mailbox.give_up("b", waiters[2])
        mailbox.wake("b")
        assert not waiters[2].done()

    run(main())


def test_a_message_goes_from_any_thread_to_any_loop(mailbox: Mailbox) -> None:
    got: Counter[bytes] = Counter()
    count = 200

    def receive(channel: str) -> None:
        async def main() -> None:
            for _ in range(count):
                got[await mailbox.get(channel)] += 1

        run(main())

    def send() -> None:
        for number in range(count):
            body = b"%d" % number
            wait_until(lambda: mailbox.sizes()[0] < 2)
            assert mailbox.put("x", LATER, body) and mailbox.put("y", LATER, body)

    threads = [threading.Thread(target=receive, args=(name,)) for name in "xy"]
    threads.append(threading.Thread(target=send))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {b"%d" % number: 2 for number in range(count)}


def test_who_waited_on_a_loop_that_is_closed_does_not_keep_others_waiting(
    mailbox: Mailbox,
) -> None:
    loop = asyncio.new_event_loop()
    waiting: Any = mailbox.get("a")
    loop.call_soon(waiting.send, None)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    async def main() -> None:
        task = asyncio.create_task(mailbox.get("a"))
        await asyncio.sleep(0)
        mailbox.put("a", LATER, b"1")
        assert await task == b"1"

    run(main())
    waiting.close()
