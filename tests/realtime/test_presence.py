"""Who watches a place is told who comes and goes, once, by any loop and after any death."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from twogate.realtime.bell import LocalBell, ring
from twogate.realtime.feed import Feed
from twogate.realtime.log import TopicLog
from twogate.realtime.presence import Presence, topic_of
from twogate.realtime.roster import Roster


class House:
    """Everything that one loop has; several of them share a folder as processes do."""

    def __init__(self, folder: Path, grace: float = 0.0) -> None:
        self._folder = folder
        self.log = TopicLog(folder / "topics")
        self.feed = Feed(self.log, LocalBell(folder))
        self.roster = Roster(folder / "roster", grace)
        self.changes = 0
        self.presence = Presence(self.roster, self.feed, self._changed)

    def _changed(self, place: str) -> None:
        self.changes += 1
        self.log.append(topic_of(place), "null")
        ring(self._folder)

    def watch(self, place: str) -> Watcher:
        watcher = Watcher()
        self.presence.watch(place, watcher)
        return watcher

    def close(self) -> None:
        self.feed.close()
        self.log.close()
        self.roster.close()


class Watcher:
    """Knows who is here by what it is told."""

    def __init__(self) -> None:
        self.here: list[Any] = []
        self.told: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, text: str) -> None:
        said = json.loads(text)
        self.told.append(text)
        if "here" in said:
            self.here = said["here"]
        else:
            self.here = [each for each in self.here if each not in said["left"]] + said["joined"]
        self._news.set()

    async def until(self, *here: Any) -> None:
        while sorted(self.here) != sorted(here):
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 10)


def run(folder: Path, main: Callable[[House, House], Awaitable[None]], grace: float = 0.0) -> None:
    async def with_houses() -> None:
        houses = House(folder, grace), House(folder, grace)
        try:
            await asyncio.wait_for(main(*houses), 20)
        finally:
            for house in houses:
                house.close()

    asyncio.run(with_houses())


def test_watchers_everywhere_are_told(tmp_path: Path) -> None:
    async def main(here: House, there: House) -> None:
        near, far, elsewhere = here.watch("hall"), there.watch("hall"), there.watch("garden")
        ada = here.presence.enter("hall", "ada", '"Ada"')
        assert ada is not None
        there.presence.enter("hall", "bob", '"Bob"')
        again = there.presence.enter("hall", "ada", '"Ada"')
        assert again is not None
        await near.until("Ada", "Bob")
        await far.until("Ada", "Bob")
        here.presence.leave({ada: "hall"})
        there.presence.leave({again: "hall"}, at_once=True)
        await near.until("Bob")
        await far.until("Bob")
        assert elsewhere.told == ['{"type":"presence","topic":"garden","here":[]}']
        late = here.watch("hall")
        here.presence.enter("hall", "late", '"Late"')
        await late.until("Bob", "Late")
        assert len(late.told) == 1

    run(tmp_path, main)


def test_the_same_words_go_to_all_watchers_of_a_loop(tmp_path: Path) -> None:
    async def main(here: House, there: House) -> None:
        watchers = [here.watch("hall") for _ in range(3)]
        for number in 1, 2:
            here.presence.enter("hall", str(number), str(number))
            for watcher in watchers:
                await watcher.until(*range(1, number + 1))
        assert len({id(watcher.told[-1]) for watcher in watchers}) == 1

    run(tmp_path, main)


def test_who_watches_no_more_is_told_nothing(tmp_path: Path) -> None:
    async def main(here: House, there: House) -> None:
        one, other = here.watch("hall"), here.watch("hall")
        here.presence.unwatch("hall", one)
        here.presence.unwatch("hall", one)
        here.presence.unwatch("never", one)
        here.presence.enter("hall", "ada", "1")
        await other.until(1)
        assert len(one.told) == 1
        here.presence.unwatch("hall", other)
        assert here.feed.statistics()["topics"] == 0

    run(tmp_path, main)


def test_many_changes_are_told_together(tmp_path: Path) -> None:
    async def main(here: House, there: House) -> None:
        watcher = here.watch("hall")
        for number in range(1500):  # more than may wait for a subscriber
            here.presence.enter("hall", str(number), str(number))
        await watcher.until(*range(1500))
        assert len(watcher.told) < 10
        here.presence.enter("hall", "last", "-1")
        await watcher.until(*range(-1, 1500))

    run(tmp_path, main)


def test_coming_back_within_the_grace_is_no_news(tmp_path: Path) -> None:
    async def main(here: House, there: House) -> None:
        watcher = there.watch("hall")
        ticket = here.presence.enter("hall", "ada", "1")
        assert ticket is not None
        await watcher.until(1)
        here.presence.leave({ticket: "hall"})
        there.presence.enter("hall", "ada", "1")
        there.presence.enter("hall", "bob", "2")
        await watcher.until(1, 2)
        assert json.loads(watcher.told[-1])["joined"] == [2]

    run(tmp_path, main, grace=60)


def test_a_roster_that_cannot_be_written_fails_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(here: House, there: House) -> None:
        watcher = here.watch("hall")
        with here.roster._handle as connection:
            connection.execute("PRAGMA query_only = ON")
        assert here.presence.enter("hall", "ada", "1") is None
        here.presence.leave({"ticket": "hall"})
        bob = there.presence.enter("hall", "bob", "2")
        assert bob is not None
        await watcher.until(2)
        here.presence.leave({bob: "hall"})
        with here.roster._handle as connection:
            connection.execute("PRAGMA query_only = OFF")
        await watcher.until()

    run(tmp_path, main)
    assert "could not be written down" in caplog.text
    assert sqlite3.OperationalError.__name__ in caplog.text
