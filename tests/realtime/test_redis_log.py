"""The log in Redis answers as the one of a machine does, and says when it has lost something."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.redis import RedisServer

from twogate.realtime.log import Entry, TopicLog
from twogate.realtime.outage import Away
from twogate.realtime.redis_link import Link
from twogate.realtime.redis_log import RedisLog, decode

MakeLog = Callable[..., RedisLog]


@pytest.fixture
def link(redis: RedisServer) -> Iterator[Link]:
    link = Link(redis.url)
    yield link
    link.client.close()


@pytest.fixture
def log(link: Link) -> RedisLog:
    return RedisLog(link, "test")


def data(entries: list[Entry]) -> list[str]:
    return [entry.data for entry in entries]


def test_numbers_grow_over_all_topics_and_are_the_time(log: RedisLog) -> None:
    before = log.newest()
    numbers = [log.append(topic, "1") for topic in "abab" * 10]
    assert before < numbers[0]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == log.newest() < 1 << 53
    assert abs(numbers[-1] / 1e6 - time.time()) < 60


def test_replay_is_that_of_the_other_log(log: RedisLog, tmp_path: Path) -> None:
    local = TopicLog(tmp_path / "log")
    numbers: list[tuple[int, int]] = [(log.newest(), local.newest())]
    for number in range(30):
        topic, text = "abc"[number % 3], f'"é {number} "'
        numbers.append((log.append(topic, text), local.append(topic, text)))
    for ours, theirs in numbers:
        for topics in (["a"], ["a", "b"], ["c", "nothing"]):
            one, other = log.replay(topics, ours), local.replay(topics, theirs)
            assert data(one.entries) == data(other.entries)
            assert one.complete == other.complete is True
            assert one.newest == log.newest()
    assert log.replay(["a"], 0).complete
    local.close()


def test_what_is_too_much_is_forgotten_and_told(link: Link) -> None:
    log = RedisLog(link, "test", keep=10)
    numbers = [log.append("a", str(number)) for number in range(25)]
    log.append("b", "other")
    assert data(log.replay(["a"], numbers[14]).entries) == [str(n) for n in range(15, 25)]
    assert log.replay(["a"], numbers[14]).complete
    assert not log.replay(["a"], numbers[13]).complete
    assert not log.replay(["a", "b"], 0).complete
    assert log.replay(["b"], 0).complete


def test_what_is_too_old_is_forgotten_and_told(link: Link) -> None:
    log = RedisLog(link, "test", seconds=0.05)
    first = log.append("a", "1")
    before = log.newest()
    second = log.append("a", "2")
    while time.time() - second / 1e6 < 0.1:
        time.sleep(0.01)
    third = log.append("a", "3")
    assert not log.replay(["a"], before - 1).complete
    assert log.replay(["a"], second).complete
    assert data(log.replay(["a"], first).entries) == ["3"]
    link.client.delete("test:topic:a")  # as its time to live does
    assert not log.replay(["a"], second).complete
    assert log.replay(["a"], third).complete


def test_a_redis_that_lost_its_data_uses_no_number_twice(
    redis: RedisServer, link: Link, log: RedisLog
) -> None:
    old = [log.append("a", "old") for _ in range(5)]
    redis.kill()
    with pytest.raises(Away):
        log.append("a", "lost")
    redis.start()
    while link.outage.away:
        time.sleep(link.outage.wait())
        try:
            new = log.append("a", "new")
        except Away:
            pass
    assert new > old[-1]
    replay = log.replay(["a"], old[-1])
    assert not replay.complete
    assert data(replay.entries) == ["new"]
    assert not log.replay(["never"], old[-1]).complete
    assert log.replay(["a", "never"], new).complete


def test_a_number_from_elsewhere_is_none_of_its_own(log: RedisLog) -> None:
    newest = log.append("a", "1")
    assert not log.replay(["a"], 41).complete
    assert not log.replay(["a"], newest + 1).complete


def test_projects_share_a_redis_and_nothing_else(link: Link, log: RedisLog) -> None:
    log.append("a", "1")
    other = RedisLog(link, "other")
    assert other.replay(["a"], 0).entries == []
    assert other.channel != log.channel


topics = st.text(min_size=1, max_size=200)


@given(st.integers(0, 1 << 53), topics, st.text())
def test_news(number: int, topic: str, text: str) -> None:
    raw = topic.encode("utf-8", "surrogatepass")
    news = b"%d %d %b%b" % (number, len(raw), raw, text.encode("utf-8", "surrogatepass"))
    assert decode(news) == Entry(number, topic, text)


@given(st.binary())
def test_news_of_somebody_else(news: bytes) -> None:
    try:
        decode(news)
    except ValueError:
        pass
