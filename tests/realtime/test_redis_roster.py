"""Who is here, on two machines that share nothing but a Redis, which may die as they may."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.http import eventually
from tests.support.redis import RedisServer

from twogate.realtime import redis_roster
from twogate.realtime.feed import Feed
from twogate.realtime.presence import Presence
from twogate.realtime.redis_link import TIMEOUT, Link
from twogate.realtime.redis_roster import LIFETIME, RedisRoster
from twogate.realtime.redis_topics import RedisTopics

SOURCE = Path(__file__).parents[2] / "src"
#: Seconds until something has happened on a slow machine, an outage of Redis included.
DEADLINE = 40.0
GUEST = """
import sys, time
from twogate.realtime.redis_link import Link
from twogate.realtime.redis_roster import RedisRoster
roster = RedisRoster(Link(sys.argv[1]), "test", grace=float(sys.argv[2]))
roster.enter("hall", "guest", '"Guest"')
roster.refresh()
print("here", flush=True)
sys.stdin.readline()
"""

Make = Callable[..., RedisRoster]


@pytest.fixture
def make(redis: RedisServer) -> Iterator[Make]:
    """Makes what another process would have: a roster with a link of its own."""
    with ExitStack() as stack:

        def make(grace: float = 0.0) -> RedisRoster:
            link = Link(redis.url)
            stack.callback(link.client.close)
            roster = RedisRoster(link, "test", grace)
            stack.callback(roster.close)
            return roster

        yield make


@pytest.fixture
def guest(redis: RedisServer) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that is in the hall."""
    with subprocess.Popen(
        [sys.executable, "-c", GUEST, redis.url, "0"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        yield process
        process.kill()


class Watch:
    """Notes who is in the hall whenever that changes."""

    def __init__(self, roster: RedisRoster) -> None:
        self._roster = roster
        self.moments: list[list[str]] = []
        roster.listen(self._note)

    def _note(self, places: set[str]) -> None:
        self.moments.append(list(self._roster.here("hall")))


def until(condition: Callable[[], object]) -> None:
    eventually(condition, patience=DEADLINE)


def sees(roster: RedisRoster, *members: str, place: str = "hall") -> bool:
    """Whether exactly they are here, in this order, for somebody who watches."""
    roster.sweep()
    return list(roster.here(place)) == list(members)


def test_several_tabs_of_one_member_count_once(make: Make) -> None:
    here, there = make(), make()
    first = here.enter("hall", "ada", '{"name":"Ada"}')
    assert list(here.here("hall")) == ["ada"]  # at once, for who is in the same process
    until(lambda: sees(there, "ada"))
    second = there.enter("hall", "ada", '{"name":"Ada"}')
    there.enter("hall", "bob\ud800", "1")
    there.enter("garden", "eve", "2")
    until(lambda: sees(here, "ada", "bob\ud800"))
    assert here.here("hall") == {"ada": '{"name":"Ada"}', "bob\ud800": "1"}
    here.leave([first, "nobody's"], at_once=True)
    until(lambda: sees(here, "ada", "bob\ud800"))
    there.leave([second])
    until(lambda: sees(here, "bob\ud800"))
    until(lambda: sees(there, "bob\ud800"))


def test_who_asks_once_reads_what_is(make: Make) -> None:
    here, there = make(), make()
    here.enter("hall", "ada", "1")
    until(lambda: not here._untold)
    assert not there.fresh
    there.refresh()
    assert there.fresh
    assert there.here("hall") == {"ada": "1"}
    assert there._thread is None
    assert there.statistics() == {"own": 0, "others": 1, "processes": 1, "outages": 0}


def test_who_comes_back_within_the_grace_never_left(make: Make) -> None:
    here, there = make(grace=60), make(grace=60)
    here.leave([here.enter("hall", "ada", "1")])
    until(lambda: sees(there, "ada"))
    there.leave([there.enter("hall", "ada", "1")], at_once=True)
    assert sees(there, "ada")  # still of the first ticket


def test_who_leaves_soon_is_never_told_of(make: Make, redis: RedisServer) -> None:
    here, there = make(), make()
    redis.kill()
    for _ in range(100):
        here.leave([here.enter("hall", "ada", "1")], at_once=True)
    redis.start()
    here.enter("hall", "bob", "1")
    until(lambda: sees(there, "bob"))
    assert len(here._told) == 1


def test_who_was_killed_vanishes_when_their_time_is_over(
    make: Make, guest: subprocess.Popen[str]
) -> None:
    roster = make()
    roster.enter("hall", "ada", "1")
    until(lambda: set(roster.here("hall")) == {"guest", "ada"} or roster.sweep())
    guest.kill()
    guest.wait(15)
    began = time.monotonic()
    until(lambda: sees(roster, "ada"))
    assert time.monotonic() - began < LIFETIME + 10
    assert roster.statistics()["processes"] == 0


def test_who_ends_in_peace_has_left_with_grace(make: Make, guest: subprocess.Popen[str]) -> None:
    roster = make()
    until(lambda: sees(roster, "guest"))
    assert guest.stdin is not None
    guest.stdin.close()
    guest.wait(15)
    began = time.monotonic()
    until(lambda: sees(roster))
    assert time.monotonic() - began < LIFETIME / 2


def test_a_process_that_was_stopped_comes_back(make: Make, guest: subprocess.Popen[str]) -> None:
    roster = make()
    until(lambda: sees(roster, "guest"))
    guest.send_signal(signal.SIGSTOP)
    until(lambda: sees(roster))
    guest.send_signal(signal.SIGCONT)
    until(lambda: sees(roster, "guest"))


def test_a_redis_that_lost_everything_is_told_again(make: Make, redis: RedisServer) -> None:
    here, there = make(), make()
    here.enter("hall", "ada", "1")
    until(lambda: sees(there, "ada"))
    redis.kill()
    there.enter("hall", "bob", "2")
    until(lambda: there.statistics()["outages"] == 1 or there.sweep())
    assert list(there.here("hall")) == ["ada", "bob"]  # nobody is taken for dead meanwhile
    redis.start()
    watch = Watch(there)
    until(lambda: sees(here, "ada", "bob"))
    third = make()
    until(lambda: sees(third, "ada", "bob"))
    until(lambda: sees(there, "ada", "bob"))
    assert all("ada" in moment for moment in watch.moments)


def test_a_redis_that_was_emptied_unnoticed_is_told_again(make: Make) -> None:
    here, there = make(), make()
    for number in range(1200):  # more than a page
        here.enter("hall", str(number), "1")
    until(lambda: len(there.here("hall")) == 1200 or there.sweep())
    there._link.client.flushall()
    third = make()
    until(lambda: len(third.here("hall")) == 1200 or third.sweep())
    until(lambda: len(there.here("hall")) == 1200 or there.sweep())


def test_who_did_not_look_for_long_reads_everything(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_roster, "_REMEMBER", 0.2)
    monkeypatch.setattr(redis_roster, "LIFETIME", 60.0)
    here, there = make(), make()
    ticket = here.enter("hall", "ada", "1")
    here.enter("hall", "bob", "1")
    until(lambda: not here._untold)
    there.refresh()
    assert set(there.here("hall")) == {"ada", "bob"}
    here.leave([ticket], at_once=True)
    until(lambda: not here._past and not here._untold)  # forgotten, with a beat

    def only_bob() -> bool:
        there.refresh()
        return list(there.here("hall")) == ["bob"]

    until(only_bob)


def test_a_redis_that_does_not_answer_holds_up_nobody(make: Make, redis: RedisServer) -> None:
    here, there = make(), make()
    here.enter("hall", "ada", "1")
    until(lambda: sees(there, "ada"))
    redis.signal(signal.SIGSTOP)
    began = time.monotonic()
    for number in range(100):
        there.leave([there.enter("hall", str(number), "1")], at_once=True)
        there.sweep()
        assert list(there.here("hall")) == ["ada"]
    assert time.monotonic() - began < TIMEOUT / 2
    until(lambda: there._link.outage.away)
    took = []
    for _ in range(10):
        began = time.monotonic()
        there.refresh()
        took.append(time.monotonic() - began)
    assert sorted(took)[5] < TIMEOUT / 2
    time.sleep(LIFETIME)  # so that by its clock everybody's time is over
    redis.signal(signal.SIGCONT)
    watch = Watch(there)
    there.enter("hall", "bob", "1")
    until(lambda: sees(here, "ada", "bob"))
    until(lambda: sees(there, "ada", "bob"))
    assert all("ada" in moment for moment in watch.moments)


def test_rubbish_in_redis_is_nobody(make: Make) -> None:
    roster = make()
    client: Any = roster._link.client
    client.zadd("test:roster:living", {"other": time.time() * 1000 + 60_000})
    for number, text in enumerate(("", "5", "[1,2]", '["x","hall","a","b"]', "\xff", "null")):
        client.hset("test:roster:other", str(number), text)
        client.zadd("test:roster:other:order", {str(number): number + 1})
    client.hset("test:roster:other", "good", '[1,"hall","eve","1"]')
    client.zadd("test:roster:other:order", {"good": 9})
    until(lambda: sees(roster, "eve"))


def _child(roster: RedisRoster) -> None:
    os._exit(0 if roster.here("hall") == {} else 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_of_a_fork_is_nobody(make: Make) -> None:
    roster = make()
    roster.enter("hall", "ada", "1")
    child = multiprocessing.get_context("fork").Process(target=_child, args=(roster,))
    child.start()
    child.join(15)
    assert child.exitcode == 0
    assert sees(roster, "ada")


def test_watchers_are_told_of_other_machines(
    make: Make, redis: RedisServer, guest: subprocess.Popen[str]
) -> None:
    there = make()

    async def main() -> None:
        link = Link(redis.url)
        topics = RedisTopics(link, "test")
        feed = Feed(topics, topics)
        told: list[dict[str, Any]] = []
        roster = make()
        presence = Presence(roster, feed, lambda place: pytest.fail("it tells by itself"))
        await presence.prepare()
        presence.watch("hall", watcher := (lambda text: told.append(json.loads(text))))
        assert told[0]["here"] == ["Guest"]
        ticket = there.enter("hall", "ada", '"Ada"')
        await come(lambda: told[-1].get("joined") == ["Ada"])
        there.leave([ticket], at_once=True)
        await come(lambda: told[-1].get("left") == ["Ada"])
        assert presence.enter("hall", "bob", '"Bob"') is not None
        await come(lambda: told[-1].get("joined") == ["Bob"])
        guest.kill()
        await come(lambda: told[-1].get("left") == ["Guest"])
        assert len(told) == 5
        presence.unwatch("hall", watcher)
        feed.close()
        await asyncio.to_thread(topics.close)
        link.client.close()

    async def come(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), DEADLINE))
