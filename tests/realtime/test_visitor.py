"""What one browser may have, has, and where it is present."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twogate.realtime.bell import LocalBell
from twogate.realtime.feed import Feed
from twogate.realtime.log import TopicLog
from twogate.realtime.presence import Presence
from twogate.realtime.roster import Roster
from twogate.realtime.subscriber import Subscriber
from twogate.realtime.visitor import Member, Visitor


class House:
    """Where visitors come to."""

    def __init__(self, folder: Path) -> None:
        self.log = TopicLog(folder / "topics")
        self.feed = Feed(self.log, LocalBell(folder))
        self.roster = Roster(folder / "roster", grace=60)
        self._presence = Presence(self.roster, self.feed, lambda place: None)

    def visitor(self, member: Member | None = None) -> Visitor:
        async def allow(topic: str) -> bool:
            return topic != "secret"

        async def present(topic: str) -> Member | None:
            return member

        subscriber = Subscriber(self.feed, lambda: None)
        return Visitor(subscriber, self._presence, allow=allow, member=present)

    def close(self) -> None:
        self.feed.close()
        self.log.close()
        self.roster.close()


def run(folder: Path, main: Callable[[House], Awaitable[None]]) -> None:
    async def with_house() -> None:
        house = House(folder)
        try:
            await main(house)
        finally:
            house.close()

    asyncio.run(with_house())


def told(visitor: Visitor) -> list[Any]:
    return [json.loads(item) for item in iter(visitor.take, None) if isinstance(item, str)]


def test_only_what_it_is_admitted_to(tmp_path: Path) -> None:
    async def main(house: House) -> None:
        visitor = house.visitor()
        topics = dict.fromkeys(["a", "secret", "twogate.x"])
        assert set(await visitor.admit(topics)) == {"secret", "twogate.x"}
        visitor.subscribe(topics, watch=False)
        assert [said["type"] for said in told(visitor)] == ["denied", "denied", "subscribed"]
        assert house.feed.statistics()["topics"] == 1
        visitor.leave()
        visitor.leave()
        assert house.feed.statistics()["topics"] == 0

    run(tmp_path, main)


def test_fifty_topics_are_the_most(tmp_path: Path) -> None:
    async def main(house: House) -> None:
        visitor = house.visitor()
        assert list(await visitor.admit(dict.fromkeys(map(str, range(51))))) == ["50"]
        assert await visitor.admit({"0": None}) == {}
        visitor.unsubscribe(["1"])
        assert await visitor.admit({"50": None}) == {}
        visitor.leave()

    run(tmp_path, main)


def test_it_is_present_once_where_it_subscribes(tmp_path: Path) -> None:
    async def main(house: House) -> None:
        visitor = house.visitor(Member("ada", '"Ada"'))
        for _ in range(2):
            await visitor.admit({"a": None, "b": None})
            visitor.subscribe({"a": None, "b": None}, watch=True)
        assert [said.get("here") for said in told(visitor)] == [None, ["Ada"], ["Ada"]] * 2
        visitor.unsubscribe(["a"])
        assert house.roster.here("a") == {}
        visitor.leave()  # it may come back
        assert house.roster.here("b") == {"ada": '"Ada"'}

    run(tmp_path, main)
