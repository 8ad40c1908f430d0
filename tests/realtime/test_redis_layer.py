"""channels_redis' layer through the deaths of a real Redis; what it says of losses is true."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from tests.support.redis import RedisServer
from tests.support.settings import configure

from twogate.realtime import gaps
from twogate.realtime.redis_layer import RedisAway, RedisLayer
from twogate.realtime.redis_link import TIMEOUT

from .conftest import DEADLINE, run

configure()


def make(redis: RedisServer, **options: Any) -> RedisLayer:
    return RedisLayer(redis.url, prefix="test:", **options)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def ending(*layers: RedisLayer) -> AsyncIterator[None]:
    """Layers end with their test."""
    try:
        yield
    finally:
        for layer in layers:
            await layer.close()


def message(number: int) -> dict[str, Any]:
    return {"type": "chat.message", "number": number}


def test_two_processes_and_a_group(redis: RedisServer) -> None:
    async def main() -> None:
        one, other = make(redis), make(redis)
        async with ending(one, other):
            channels = [(layer, await layer.new_channel()) for layer in (one, one, other)]
            for layer, channel in channels:
                await layer.group_add("room", channel)
            await one.group_send("room", message(1))
            await other.send(channels[0][1], message(2))
            for layer, channel in channels:
                assert await layer.receive(channel) == message(1)
            assert await one.receive(channels[0][1]) == message(2)
            await one.group_discard("room", channels[0][1])
            await other.group_send("room", message(3))
            assert await one.receive(channels[1][1]) == message(3)
            figures = one.statistics()
            assert (figures.sent, figures.received, figures.members) == (1, 4, 1)
            assert sum(figures.dropped.values()) == 0
            with pytest.raises(AssertionError, match="another process's channel"):
                await one.receive(channels[2][1])

    run(main())


def test_receivers_do_not_share_what_they_receive(redis: RedisServer) -> None:
    async def main() -> None:
        layer = make(redis)
        async with ending(layer):
            channels = [await layer.new_channel() for _ in range(2)]
            for channel in channels:
                await layer.group_add("room", channel)
            await layer.group_send("room", {"type": "t", "list": []})
            first = await layer.receive(channels[0])
            first["list"].append(1)
            assert (await layer.receive(channels[1]))["list"] == []

    run(main())


def test_a_consumer_that_does_not_receive_loses_its_own_messages_only(redis: RedisServer) -> None:
    async def main() -> None:
        layer = make(redis, capacity=5)
        async with ending(layer):
            slow, quick = await layer.new_channel(), await layer.new_channel()
            for channel in (slow, quick):
                await layer.group_add("room", channel)
            for number in range(20):
                await layer.group_send("room", message(number))
                assert await layer.receive(quick) == message(number)
            assert layer.statistics().dropped["capacity"] == 15
            assert [await layer.receive(slow) for _ in range(5)] == [message(n) for n in range(5)]

    run(main())


def test_receivers_live_through_a_restart_that_loses_everything(redis: RedisServer) -> None:
    async def main() -> None:
        one, other = make(redis), make(redis)
        async with ending(one, other):
            mine, theirs = await one.new_channel(), await other.new_channel()
            await one.group_add("room", mine)
            await other.group_add("room", theirs)
            await one.group_send("room", message(0))
            assert await one.receive(mine) == await other.receive(theirs) == message(0)
            waiting = [
                asyncio.ensure_future(one.receive(mine)),
                asyncio.ensure_future(other.receive(theirs)),
            ]
            await asyncio.sleep(0)
            redis.kill()
            await until(lambda: one.statistics().away)
            await one.group_send("room", message(1))  # raises nothing
            with pytest.raises(RedisAway, match=r"cannot be reached|socket"):
                await one.send(theirs, message(1))
            assert one.statistics().dropped["unreachable"] == 2
            # A socket that opens now is told nothing of it.
            late = await one.new_channel()
            await one.group_add("room", late)
            redis.start()
            for number in range(1000):
                await other.group_send("room", message(number))
                await asyncio.sleep(0.05)
                if all(each.done() for each in waiting) and one.statistics().queued:
                    break
            assert all(each.done() for each in waiting)
            assert (await one.receive(late))["type"] == "chat.message"
            assert not one.statistics().away
            assert one.statistics().outages == 1

    run(main())


def test_what_redis_took_and_lost_is_missed(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "GRACE", 0.0)

    async def main() -> None:
        one, other = make(redis), make(redis)
        async with ending(one, other):
            channel = await one.new_channel()
            await one.group_add("room", channel)
            await other.group_send("room", message(0))
            assert await one.receive(channel) == message(0)
            await one._stop_reading()  # what is sent now waits in Redis
            for number in range(1, 8):
                await other.group_send("room", message(number))
            assert other.statistics().sent == 8
            redis.kill()
            redis.start()
            receiving = asyncio.ensure_future(one.receive(channel))
            sent = 8
            while not receiving.done():
                await other.group_send("room", message(sent))
                sent += 1
                await asyncio.sleep(0.05)
            last = receiving.result()["number"]
            assert one.statistics().dropped["missing"] == last - 1

    run(main())


def test_memberships_that_ended_meanwhile_are_not_made_again(redis: RedisServer) -> None:
    async def main() -> None:
        layer = make(redis)
        async with ending(layer):
            gone, stays = await layer.new_channel(), await layer.new_channel()
            for channel in (gone, stays):
                await layer.group_add("room", channel)
            receiving = asyncio.ensure_future(layer.receive(stays))
            await asyncio.sleep(0)
            redis.signal(signal.SIGSTOP)  # it keeps its data
            await layer.group_discard("room", gone)
            assert layer.statistics().away
            redis.signal(signal.SIGCONT)
            await until(lambda: layer._told == layer._untold and not layer.statistics().away)
            await layer.group_send("room", message(1))
            assert await receiving == message(1)
            assert layer.statistics().queued == 0

    run(main())


def test_a_redis_that_does_not_answer_holds_up_neither_the_loop_nor_a_sync_view(
    redis: RedisServer,
) -> None:
    async def main() -> None:
        layer = make(redis)
        async with ending(layer):
            channel = await layer.new_channel()
            await layer.group_add("room", channel)
            receiving = asyncio.ensure_future(layer.receive(channel))
            await asyncio.sleep(0)
            redis.signal(signal.SIGSTOP)
            took: list[float] = []

            def view() -> None:
                for _ in range(20):
                    began = time.monotonic()
                    async_to_sync(layer.group_send)("room", message(1))
                    took.append(time.monotonic() - began)

            thread = threading.Thread(target=view)
            thread.start()
            pauses: list[float] = []
            while thread.is_alive():
                began = time.monotonic()
                await asyncio.sleep(0)
                pauses.append(time.monotonic() - began)
            thread.join()
            redis.signal(signal.SIGCONT)
            assert max(pauses) < TIMEOUT / 2
            assert max(took) < TIMEOUT + 3
            assert sorted(took)[10] < TIMEOUT / 2  # nobody waits for one that is known to be away
            assert layer.statistics().dropped["unreachable"] == 20
            await until(lambda: not layer.statistics().away)
            await layer.group_send("room", message(2))
            # Redis may have read those that nobody waited for.
            while (await receiving)["number"] != 2:
                receiving = asyncio.ensure_future(layer.receive(channel))

    asyncio.run(asyncio.wait_for(main(), 60))


def test_channels_without_a_home_wait_in_redis(redis: RedisServer) -> None:
    async def main() -> None:
        one, other = make(redis, capacity=2), make(redis)
        async with ending(one, other):
            for number in range(2):
                await one.send("thumbnails", message(number))
            with pytest.raises(ChannelFull):
                await one.send("thumbnails", message(2))
            assert one.statistics().refused == 1
            assert [await other.receive("thumbnails") for _ in range(2)] == [message(0), message(1)]
            receiving = asyncio.ensure_future(other.receive("thumbnails"))
            await asyncio.sleep(0)
            redis.kill()
            await until(lambda: other.statistics().away)
            redis.start()
            while not receiving.done():
                try:
                    await one.send("thumbnails", message(3))
                except ChannelFull:
                    pass
                await asyncio.sleep(0.05)
            assert receiving.result() == message(3)

    run(main())


def test_a_loop_that_ends_hands_reading_over(redis: RedisServer) -> None:
    layer = make(redis)
    started, end = threading.Event(), threading.Event()

    async def first() -> None:
        channel = await layer.new_channel()
        task = asyncio.ensure_future(layer.receive(channel))
        await asyncio.sleep(0)
        started.set()
        await asyncio.to_thread(end.wait, DEADLINE)
        task.cancel()

    thread = threading.Thread(target=asyncio.run, args=(first(),))
    thread.start()
    assert started.wait(DEADLINE)

    async def second() -> None:
        async with ending(layer):
            channel = await layer.new_channel()
            receiving = asyncio.ensure_future(layer.receive(channel))
            await asyncio.sleep(0)
            end.set()
            await asyncio.to_thread(thread.join, DEADLINE)
            await layer.send(channel, message(1))
            assert await receiving == message(1)

    run(second())


def test_flush_forgets_everything_and_goes_on(redis: RedisServer) -> None:
    async def main() -> None:
        layer = make(redis)
        async with ending(layer):
            channel = await layer.new_channel()
            await layer.group_add("room", channel)
            receiving = asyncio.ensure_future(layer.receive(channel))
            await layer.flush()
            await layer.group_send("room", message(1))
            await layer.send(channel, message(2))
            assert await receiving == message(2)
            assert layer.statistics().outages == 0

    run(main())


def test_a_child_has_channels_of_its_own(redis: RedisServer) -> None:
    layer = make(redis)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, layer.client_prefix.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    assert len(theirs) == len(layer.client_prefix)
    assert theirs != layer.client_prefix


@pytest.mark.parametrize(
    "call",
    [
        lambda layer: layer.send("no good", message(1)),
        lambda layer: layer.group_send("no good", message(1)),
        lambda layer: layer.group_add("room", "no good"),
        lambda layer: layer.group_discard("no good", "channel"),
        lambda layer: layer.receive("no good"),
    ],
)
def test_names_are_checked(redis: RedisServer, call: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            await call(make(redis))

    run(main())
