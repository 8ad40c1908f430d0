"""Subscriptions: nothing lost, nothing twice, and nobody held up by who does not read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from twogate.realtime.bell import LocalBell, ring
from twogate.realtime.feed import Feed, Lagging
from twogate.realtime.log import TopicLog


class Channel:
    """A log and a bell in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = TopicLog(folder / "topics")

    def publish(self, topic: str, data: str) -> int:
        number = self.log.append(topic, data)
        ring(self.folder)
        return number


def run(folder: Path, main: Callable[[Channel, Feed], Awaitable[None]]) -> None:
    async def with_feed() -> None:
        channel = Channel(folder)
        feed = Feed(channel.log, LocalBell(folder))
        try:
            await asyncio.wait_for(main(channel, feed), 20)
        finally:
            feed.close()
            channel.log.close()

    asyncio.run(with_feed())


def test_each_subscriber_gets_its_topics(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        one, both = feed.subscribe(["a"]), feed.subscribe(["a", "b"])
        channel.publish("b", "1")
        channel.publish("a", "2")
        channel.publish("c", "3")
        assert (await anext(one)).data == "2"
        assert [(await anext(both)).data for _ in range(2)] == ["1", "2"]
        assert feed.statistics() == {
            "topics": 2, "subscribers": 2, "delivered": 3, "lagged": 0,
        }  # fmt: skip
        one.close()
        both.close()
        assert feed.statistics()["topics"] == 0

    run(tmp_path, main)


def test_a_subscriber_that_comes_back_gets_what_it_missed_once(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        first = channel.publish("a", "1")
        channel.publish("a", "2")
        back = feed.subscribe(["a"], after=first)
        channel.publish("a", "3")  # told by the bell, after the replay
        assert back.complete
        assert [(await anext(back)).data for _ in range(2)] == ["2", "3"]
        channel.publish("a", "4")
        assert (await anext(back)).data == "4"

    run(tmp_path, main)


def test_the_old_is_not_replayed_to_who_does_not_ask(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        channel.publish("a", "old")
        subscription = feed.subscribe(["a"])
        channel.publish("a", "new")
        assert (await anext(subscription)).data == "new"

    run(tmp_path, main)


def test_who_does_not_read_is_dropped_and_may_come_back(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        slow, quick = feed.subscribe(["a"], limit=10), feed.subscribe(["a"])
        channel.publish("a", "0")
        assert (await anext(slow)).data == "0"
        for number in range(1, 20):
            channel.publish("a", str(number))
        assert [(await anext(quick)).data for _ in range(20)] == [str(n) for n in range(20)]
        with pytest.raises(Lagging) as lagging:
            await anext(slow)
        assert feed.statistics()["lagged"] == 1
        back = feed.subscribe(["a"], after=lagging.value.after)
        assert [(await anext(back)).data for _ in range(19)] == [str(n) for n in range(1, 20)]

    run(tmp_path, main)


def test_an_iteration_ends_when_it_is_closed(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        subscription = feed.subscribe(["a"])
        waiting = asyncio.ensure_future(anext(subscription, None))
        await asyncio.sleep(0)
        subscription.close()
        assert await waiting is None

    run(tmp_path, main)


def test_more_than_one_read_of_the_log(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        subscription = feed.subscribe(["a"], limit=5000)
        for number in range(900):
            channel.log.append("a", str(number))
        ring(channel.folder)
        got = [(await anext(subscription)).data for _ in range(900)]
        assert got == [str(number) for number in range(900)]

    run(tmp_path, main)


def test_a_flood_that_is_removed_before_it_is_read_is_not_passed_over(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        subscription = feed.subscribe(["a"], limit=5000)
        other = feed.subscribe(["b"])
        channel.publish("b", "kept")
        for _ in range(1200):
            channel.publish("a", "x")
        with pytest.raises(Lagging) as lagging:
            await anext(subscription)
        back = feed.subscribe(["a"], after=lagging.value.after)
        assert not back.complete
        assert (await anext(other)).data == "kept"

    run(tmp_path, main)


def test_what_was_forgotten_is_told_once(tmp_path: Path) -> None:
    """Also when nothing is left to be read, and whoever comes back goes on undisturbed."""

    async def main(channel: Channel, feed: Feed) -> None:
        nothing_kept = TopicLog(tmp_path / "topics", seconds=-1)
        subscription = feed.subscribe(["a"])
        missed = nothing_kept.append("a", "gone at once")
        nothing_kept.close()
        assert channel.log.after(missed - 1).entries == []
        ring(channel.folder)
        with pytest.raises(Lagging):
            await anext(subscription)
        assert feed._last == missed
        back = feed.subscribe(["a"])
        for text in ("1", "2"):
            channel.publish("a", text)
            assert (await anext(back)).data == text
        assert feed.statistics()["lagged"] == 1

    run(tmp_path, main)


def test_what_was_forgotten_before_is_nothing_to_who_comes_after(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        nothing_kept = TopicLog(tmp_path / "topics", seconds=-1)
        nothing_kept.append("a", "gone at once")
        nothing_kept.close()
        subscription = feed.subscribe(["a"])  # the loop has not heard yet
        channel.publish("a", "1")
        assert (await anext(subscription)).data == "1"

    run(tmp_path, main)


def test_a_number_of_another_log_hides_nothing(tmp_path: Path) -> None:
    async def main(channel: Channel, feed: Feed) -> None:
        first = channel.publish("a", "1")
        for number, seen in ((41, ["1", "2"]), (first + 1_000_000, ["2"])):
            subscription = feed.subscribe(["a"], after=number)
            assert not subscription.complete
            channel.publish("a", "2")
            assert [(await anext(subscription)).data for _ in seen] == seen
            subscription.close()

    run(tmp_path, main)


@pytest.mark.parametrize("seed", range(5))
def test_coming_and_going_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def main(channel: Channel, feed: Feed) -> None:
        got: list[int] = []
        sent: list[int] = []

        async def read() -> None:
            last = channel.publish("a", "first")
            sent.append(last)
            got.append(last)
            while len(got) < 300:
                subscription = feed.subscribe(["a"], after=last, limit=chance.randint(1, 20))
                try:
                    for _ in range(chance.randint(1, 30)):
                        last = (await anext(subscription)).id
                        got.append(last)
                        if len(got) == 300:
                            break
                except Lagging as lagging:
                    assert lagging.after == last
                finally:
                    subscription.close()

        async def write() -> None:
            while len(sent) < 300:
                for _ in range(chance.randint(1, 10)):
                    sent.append(channel.publish("a", "x"))
                await asyncio.sleep(0)

        await asyncio.gather(read(), write())
        assert got == sent[:300]

    run(tmp_path, main)
