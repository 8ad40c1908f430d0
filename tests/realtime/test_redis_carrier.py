"""Broadcasts between processes over Redis, and how many of them were lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest
from tests.support.redis import RedisServer

from twogate.realtime import gaps
from twogate.realtime.redis_carrier import RedisCarrier
from twogate.realtime.redis_link import TIMEOUT, Link

from .conftest import wait_until


class Process:
    """A carrier, and what came by it."""

    def __init__(self, redis: RedisServer) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.link = Link(redis.url)
        self.carrier = RedisCarrier(self.link, "test", lambda *message: self.heard.append(message))

    def is_heard_by(self, other: Process) -> None:
        """Wait until what it says reaches the other."""
        before = len(other.heard)
        deadline = time.monotonic() + 15
        while len(other.heard) == before:
            assert time.monotonic() < deadline
            self.carrier.publish("hello", b"")
            time.sleep(0.05)

    def is_heard_at_last(self, other: Process) -> None:
        """The same, and until what was said before has been heard, or never will be."""
        self.is_heard_by(other)
        self.carrier.publish("the last of them", b"")
        wait_until(lambda: ("the last of them", b"") in other.heard)

    def dropped(self, reason: str) -> int:
        return self.carrier.statistics().dropped[reason]


@pytest.fixture
def start(redis: RedisServer) -> Iterator[Callable[[], Process]]:
    processes: list[Process] = []

    def start() -> Process:
        processes.append(Process(redis))
        return processes[-1]

    yield start
    redis.signal(signal.SIGCONT)
    for process in processes:
        process.carrier.close()
        process.link.client.close()


def test_others_hear_frames_in_order_and_oneself_does_not(start: Callable[[], Process]) -> None:
    one, other = start(), start()
    for process in (one, other):
        process.carrier.listen()
        process.carrier.listen()
    one.is_heard_at_last(other)
    other.heard.clear()
    frames = [("tä\udcff", b"\x81%d" % number) for number in range(500)]
    for topic, frame in frames:
        one.carrier.publish(topic, frame)
    wait_until(lambda: len(other.heard) == 500)
    assert other.heard == frames
    assert one.heard == []
    assert one.carrier.statistics().received == 0
    assert sum(other.carrier.statistics().dropped.values()) == 0


def test_each_message_is_sent_or_counted_and_each_missing_one_is_missed(
    redis: RedisServer, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "GRACE", 0.0)
    one, other = start(), start()
    other.carrier.listen()
    one.is_heard_at_last(other)
    too_early = one.carrier._number - len(other.heard)  # before anybody listened
    redis.kill()
    for _ in range(100):
        one.carrier.publish("a", b"x")
    wait_until(lambda: one.dropped("unreachable") == 100)
    redis.start()
    one.is_heard_by(other)
    assert one.carrier.statistics().outages >= 1
    numbers = one.carrier._number - too_early
    wait_until(lambda: numbers == len(other.heard) + other.dropped("missing"))
    sent = one.carrier.statistics().sent
    assert sent + one.dropped("unreachable") == one.carrier._number
    assert other.dropped("missing") >= 100


def test_a_redis_that_does_not_answer_holds_up_nobody(
    redis: RedisServer, start: Callable[[], Process]
) -> None:
    one = start()
    one.carrier.publish("a", b"x")
    wait_until(lambda: one.carrier.statistics().sent == 1)
    redis.signal(signal.SIGSTOP)
    began = time.monotonic()
    for _ in range(1000):
        one.carrier.publish("a", b"x" * 10_000)
    assert time.monotonic() - began < TIMEOUT / 2
    wait_until(lambda: one.dropped("unreachable") + one.dropped("backlog") == 1000)


def test_what_others_say_on_the_channel_is_ignored(
    redis: RedisServer, start: Callable[[], Process]
) -> None:
    one, other = start(), start()
    other.carrier.listen()
    one.is_heard_by(other)
    for garbage in (b"", b"x" * 5, b"\xff" * 40):
        one.link.client.publish("test:broadcast", garbage)
    one.is_heard_by(other)
    assert {topic for topic, _ in other.heard} == {"hello"}
