"""A listener hears everything but what is said while Redis is away, and knows when that was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
from tests.support.redis import RedisServer

from twogate.realtime.redis_link import Link
from twogate.realtime.redis_listener import Listener

from .conftest import wait_until


class Ear:
    """What a listener is told."""

    def __init__(self, redis: RedisServer) -> None:
        self.link = Link(redis.url)
        self.heard: list[bytes] = []
        self.ready = 0
        self.listener = Listener(self.link, "channel", self.be_ready, self.hear)

    def be_ready(self) -> None:
        self.ready += 1

    def hear(self, message: bytes) -> None:
        if message == b"wrong":
            raise ZeroDivisionError
        self.heard.append(message)

    def say(self, message: str) -> None:
        self.link.client.publish("channel", message)


@pytest.fixture
def ear(redis: RedisServer) -> Iterator[Ear]:
    ear = Ear(redis)
    yield ear
    redis.signal(signal.SIGCONT)
    ear.listener.close()
    ear.link.client.close()


def test_it_hears_again_after_a_restart(redis: RedisServer, ear: Ear) -> None:
    wait_until(lambda: ear.ready == 1)
    ear.say("one")
    wait_until(lambda: ear.heard == [b"one"])
    redis.kill()
    wait_until(lambda: ear.link.outage.away)
    redis.start()
    wait_until(lambda: ear.ready == 2)
    ear.say("two")
    wait_until(lambda: ear.heard == [b"one", b"two"])
    assert not ear.link.outage.away


def test_a_connection_that_dies_without_a_word_is_noticed(redis: RedisServer, ear: Ear) -> None:
    wait_until(lambda: ear.ready == 1)
    redis.signal(signal.SIGSTOP)
    wait_until(lambda: ear.link.outage.away)
    redis.signal(signal.SIGCONT)
    wait_until(lambda: ear.ready == 2)


def test_what_cannot_be_passed_on_is_logged_and_does_not_end_it(
    ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    wait_until(lambda: ear.ready == 1)
    ear.say("wrong")
    wait_until(lambda: ear.ready == 2)
    ear.say("right")
    wait_until(lambda: ear.heard == [b"right"])
    assert "could not be passed on" in caplog.text


def test_closing_ends_its_thread(ear: Ear) -> None:
    ear.listener.close()
    assert not any(thread.name == "twogate-redis" for thread in threading.enumerate())
