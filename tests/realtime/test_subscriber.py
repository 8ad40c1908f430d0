"""What one browser is told, in order, whatever it subscribes to and when."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twogate.realtime.bell import LocalBell, ring
from twogate.realtime.feed import Feed, Lagging
from twogate.realtime.log import Entry, TopicLog
from twogate.realtime.subscriber import Subscriber


class Channel:
    """A log, its feed, and browsers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = TopicLog(folder / "topics")
        self.feed = Feed(self.log, LocalBell(folder))

    def publish(self, topic: str, data: object) -> int:
        number = self.log.append(topic, json.dumps(data))
        ring(self._folder)
        return number

    def browser(self) -> Reader:
        return Reader(self.feed)


class Reader:
    """A browser that reads."""

    def __init__(self, feed: Feed) -> None:
        self._news = asyncio.Event()
        self.subscriber = Subscriber(feed, self._news.set)

    async def item(self) -> Entry | str:
        while (item := self.subscriber.take()) is None:
            self._news.clear()
            await self._news.wait()
        return item

    async def next(self) -> Any:
        item = await self.item()
        return json.loads(item.text if isinstance(item, Entry) else item)

    async def data(self, count: int) -> list[Any]:
        """Of the next messages."""
        return [(await self.next())["data"] for _ in range(count)]

    def rest(self) -> Iterator[Entry | str]:
        return iter(self.subscriber.take, None)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Channel], Awaitable[None]]], None]:
    async def with_channel(main: Callable[[Channel], Awaitable[None]]) -> None:
        channel = Channel(tmp_path)
        try:
            await asyncio.wait_for(main(channel), 20)
        finally:
            channel.feed.close()
            channel.log.close()

    return lambda main: asyncio.run(with_channel(main))


Run = Callable[[Callable[[Channel], Awaitable[None]]], None]


def test_topics_come_and_go(run: Run) -> None:
    async def main(channel: Channel) -> None:
        browser = channel.browser()
        browser.subscriber.subscribe({"a": None, "b": None})
        assert set((await browser.next())["topics"]) == {"a", "b"}
        for number in range(6):
            channel.publish("abc"[number % 3], number)
        assert await browser.data(4) == [0, 1, 3, 4]
        channel.publish("a", "not any more")
        browser.subscriber.unsubscribe("a")
        browser.subscriber.unsubscribe("unknown")
        assert browser.subscriber.topics == {"b"}
        channel.publish("b", "still")
        assert await browser.data(1) == ["still"]
        browser.subscriber.close()
        assert channel.feed.statistics()["topics"] == 0

    run(main)


def test_what_is_given_back_is_not_told_even_if_it_waits(run: Run) -> None:
    async def main(channel: Channel) -> None:
        first = channel.publish("a", 1)
        channel.publish("b", 2)
        browser = channel.browser()
        browser.subscriber.subscribe({"a": first - 1, "b": first - 1})
        browser.subscriber.unsubscribe("a")
        texts = [item if isinstance(item, str) else item.topic for item in browser.rest()]
        assert len(texts) == 2
        assert texts[1] == "b"

    run(main)


def test_a_message_is_put_into_words_once_for_all(run: Run) -> None:
    async def main(channel: Channel) -> None:
        browsers = [channel.browser() for _ in range(3)]
        for browser in browsers:
            browser.subscriber.subscribe({"a": None})
            await browser.next()
        channel.publish("a", 1)
        items = [await browser.item() for browser in browsers]
        assert all(isinstance(item, Entry) for item in items)
        assert len({id(item.text) for item in items if isinstance(item, Entry)}) == 1

    run(main)


def test_who_reads_nothing_of_what_the_server_says_lags(run: Run) -> None:
    async def main(channel: Channel) -> None:
        browser = channel.browser()
        browser.subscriber.subscribe({"a": None})
        for _ in range(1100):
            browser.subscriber.tell("{}")
        with pytest.raises(Lagging):
            browser.subscriber.take()

    run(main)


def test_after_the_feed_has_closed_what_waits_is_still_there(run: Run) -> None:
    async def main(channel: Channel) -> None:
        browser = channel.browser()
        first = channel.publish("a", 1)
        channel.feed.close()
        browser.subscriber.subscribe({"a": first - 1})
        assert browser.subscriber.ended
        assert len(list(browser.rest())) == 2

    run(main)


@pytest.mark.parametrize("seed", range(5))
def test_reconnecting_with_a_number_for_each_topic_loses_and_doubles_nothing(
    run: Run, seed: int
) -> None:
    chance = random.Random(seed)
    names = ["a", "b", "c"]

    async def main(channel: Channel) -> None:
        begin = channel.log.newest()
        positions: dict[str, int | None] = dict.fromkeys(names, begin)
        got: dict[str, list[int]] = {name: [] for name in names}
        sent: dict[str, list[int]] = {name: [] for name in names}
        left = 300
        while left or any(len(got[name]) < len(sent[name]) for name in names):
            browser = channel.browser()
            # All at once, or one by one.
            for part in chance.choice([[names], [[name] for name in names]]):
                browser.subscriber.subscribe({name: positions[name] for name in part})
            for _ in range(chance.randint(1, 10)):
                for _ in range(min(left, chance.randint(0, 5))):
                    name = chance.choice(names)
                    sent[name].append(channel.publish(name, 1))
                    left -= 1
                await asyncio.sleep(0)
                for item in browser.rest():
                    if isinstance(item, Entry):
                        got[item.topic].append(item.id)
                        positions[item.topic] = item.id
                    if chance.random() < 0.05:
                        break
            browser.subscriber.close()
        assert got == sent

    run(main)
