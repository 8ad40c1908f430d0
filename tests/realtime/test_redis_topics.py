"""Feeds of several processes over one Redis: nothing lost or doubled, and told where it was."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.redis import RedisServer

from twogate.realtime import redis_topics
from twogate.realtime.feed import Feed, Lagging
from twogate.realtime.redis_link import TIMEOUT, Link
from twogate.realtime.redis_topics import RedisTopics

DEADLINE = 30.0


def run(
    redis: RedisServer,
    main: Callable[[RedisTopics, Feed], Awaitable[None]],
    keep: int = 1000,
) -> None:
    async def with_feed() -> None:
        link = Link(redis.url)
        topics = RedisTopics(link, "test", keep)
        feed = Feed(topics, topics)
        await feed.prepare(())
        try:
            await asyncio.wait_for(main(topics, feed), DEADLINE)
        finally:
            feed.close()
            await asyncio.to_thread(topics.close)
            link.client.close()

    asyncio.run(with_feed())


async def say(topics: RedisTopics, topic: str, data: str) -> int:
    return await asyncio.to_thread(topics.append, topic, data)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_what_is_said_before_redis_has_answered_is_heard(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who subscribes does not wait for Redis; what is said from that moment on is for it."""
    may_connect = threading.Event()
    subscription = Link.subscription

    def later(link: Link) -> Any:
        may_connect.wait(DEADLINE)
        return subscription(link)

    monkeypatch.setattr(Link, "subscription", later)

    async def main() -> None:
        link = Link(redis.url)
        topics = RedisTopics(link, "test")
        await say(topics, "a", "too early")
        feed = Feed(topics, topics)
        subscriber = feed.subscribe(["a"])
        await say(topics, "a", "meanwhile")
        may_connect.set()
        try:
            assert (await asyncio.wait_for(anext(subscriber), DEADLINE)).data == "meanwhile"
            await say(topics, "a", "later")
            assert (await asyncio.wait_for(anext(subscriber), DEADLINE)).data == "later"
        finally:
            feed.close()
            await asyncio.to_thread(topics.close)
            link.client.close()

    asyncio.run(main())


def test_each_subscriber_gets_its_topics(redis: RedisServer) -> None:
    async def main(topics: RedisTopics, feed: Feed) -> None:
        one, both = feed.subscribe(["a"]), feed.subscribe(["a", "b"])
        for topic in "bac":
            await say(topics, topic, topic.upper())
        assert (await anext(one)).data == "A"
        assert [(await anext(both)).data for _ in range(2)] == ["B", "A"]

    run(redis, main)


def test_who_comes_back_gets_what_it_missed_once(redis: RedisServer) -> None:
    async def main(topics: RedisTopics, feed: Feed) -> None:
        first = await say(topics, "a", "1")
        await say(topics, "a", "2")
        await feed.prepare(["a"])
        back = feed.subscribe(["a"], after=first)
        await say(topics, "a", "3")
        assert back.complete
        assert [(await anext(back)).data for _ in range(2)] == ["2", "3"]
        again = feed.subscribe(["a"], after=first)  # from memory
        assert again.complete
        assert [(await anext(again)).data for _ in range(2)] == ["2", "3"]
        unprepared = feed.subscribe(["b"], after=first)
        assert not unprepared.complete

    run(redis, main)


def test_a_publisher_on_a_loop_does_not_wait(redis: RedisServer) -> None:
    async def main(topics: RedisTopics, feed: Feed) -> None:
        subscription = feed.subscribe(["a"])
        for number in range(200):
            topics.append("a", str(number))
        assert [(await anext(subscription)).data for _ in range(200)] == list(map(str, range(200)))
        redis.signal(signal.SIGSTOP)
        began = time.monotonic()
        for number in range(200):
            topics.append("a", str(number))
        assert time.monotonic() - began < TIMEOUT / 2
        await until(lambda: topics.drops.counts()["unreachable"] == 200)
        redis.signal(signal.SIGCONT)

    run(redis, main)


def test_a_sync_publisher_waits_for_a_silent_redis_once(redis: RedisServer) -> None:
    async def main(topics: RedisTopics, feed: Feed) -> None:
        redis.signal(signal.SIGSTOP)
        began = time.monotonic()
        await say(topics, "a", "1")
        assert time.monotonic() - began < TIMEOUT + 3
        took = []
        for _ in range(10):
            began = time.monotonic()
            await say(topics, "a", "2")
            took.append(time.monotonic() - began)
        assert sorted(took)[5] < TIMEOUT / 2
        redis.signal(signal.SIGCONT)
        assert topics.drops.counts()["unreachable"] == 11

    run(redis, main)


def test_a_break_that_loses_no_data_loses_nothing(redis: RedisServer) -> None:
    async def main(topics: RedisTopics, feed: Feed) -> None:
        subscription = feed.subscribe(["a"])
        await say(topics, "a", "1")
        assert (await anext(subscription)).data == "1"
        other = Link(redis.url)
        for number in range(2, 40):
            if number % 8 == 0:
                other.client.client_kill_filter(_type="pubsub")
            await say(topics, "a", str(number))
        assert [(await anext(subscription)).data for _ in range(38)] == list(map(str, range(2, 40)))
        other.client.close()

    run(redis, main)


def test_who_may_have_missed_something_is_told(redis: RedisServer) -> None:
    async def main(topics: RedisTopics, feed: Feed) -> None:
        subscription = feed.subscribe(["a"])
        last = await say(topics, "a", "1")
        assert (await anext(subscription)).data == "1"
        redis.kill()
        await say(topics, "a", "lost")
        assert topics.drops.counts()["unreachable"] == 1
        redis.start()
        with pytest.raises(Lagging) as lagging:
            await anext(subscription)
        assert lagging.value.after == last
        await feed.prepare(["a"])
        back = feed.subscribe(["a"], after=last)
        assert not back.complete
        while not await say(topics, "a", "2"):
            await asyncio.sleep(0.05)
        assert (await anext(back)).data == "2"

    run(redis, main)


def test_a_redis_that_is_absent_at_first(redis: RedisServer) -> None:
    redis.kill()

    async def main(topics: RedisTopics, feed: Feed) -> None:
        await feed.prepare(["a"])
        subscription = feed.subscribe(["a"])
        assert feed.subscribe(["a"], after=5).complete is False
        redis.start()
        for number in range(1000):
            await say(topics, "a", str(number))
            await asyncio.sleep(0.02)
            if subscription._waiting:
                break
        assert (await anext(subscription)).topic == "a"

    run(redis, main)


def test_what_is_kept_in_memory_is_bounded(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_topics, "_MOST_KEPT", 5000)
    monkeypatch.setattr(redis_topics, "_MOST_NEWS", 50)

    async def main(topics: RedisTopics, feed: Feed) -> None:
        names = [str(number) for number in range(20)]
        await feed.prepare(names)
        for _ in range(10):
            for name in names:
                await say(topics, name, "x" * 100)
        await until(lambda: len(topics._news) == 50)
        assert topics.statistics()["characters_kept"] <= 5000
        assert topics._kept == sum(map(redis_topics._size, topics._windows.values()))
        await feed.prepare(names[:3])  # those that were let go are read again
        assert len(feed.subscribe(names[:3], after=0)._replayed) == 30

    run(redis, main)


def test_a_topic_in_memory_forgets_as_redis_does(redis: RedisServer) -> None:
    async def main(topics: RedisTopics, feed: Feed) -> None:
        await feed.prepare(["a"])
        numbers = [await say(topics, "a", str(number)) for number in range(25)]
        await until(lambda: topics.newest() == numbers[-1])
        for number in (numbers[13], numbers[14], numbers[20]):
            ours = topics.replay(["a"], number)
            assert ours == topics._log.replay(["a"], number)
        assert topics.replay(["a"], numbers[14]).complete
        assert not topics.replay(["a"], numbers[13]).complete

    run(redis, main, keep=10)


@pytest.mark.parametrize("seed", range(3))
def test_coming_and_going_loses_and_doubles_nothing(redis: RedisServer, seed: int) -> None:
    chance = random.Random(seed)

    async def main(topics: RedisTopics, feed: Feed) -> None:
        sent = [await say(topics, "a", "first")]
        got = list(sent)
        done = False

        async def write() -> None:
            while not done:
                sent.append(await say(topics, "a", "x"))
                await say(topics, "b", "x")
                if chance.random() < 0.02:
                    await asyncio.to_thread(kill)

        other = Link(redis.url)

        def kill() -> None:
            other.client.client_kill_filter(_type="pubsub")

        writing = asyncio.ensure_future(write())
        while len(got) < 200:
            await feed.prepare(["a"])
            subscription = feed.subscribe(["a"], after=got[-1], limit=chance.randint(1, 20))
            assert subscription.complete
            try:
                for _ in range(chance.randint(1, 30)):
                    got.append((await anext(subscription)).id)
            except Lagging:
                pass
            subscription.close()
        done = True
        await writing
        other.client.close()
        lost = topics.drops.counts()["unreachable"]
        assert [number for number in sent if number][: len(got)] == got, lost

    run(redis, main)
