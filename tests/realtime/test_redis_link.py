"""One way to a Redis: bounded, never tried twice by itself, and with one kind of error."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from tests.support.redis import RedisServer

from twogate.errors import ConfigError
from twogate.realtime.outage import Away
from twogate.realtime.redis_link import TIMEOUT, Link, link_to


def test_a_call_that_works_and_one_that_does_not(redis: RedisServer) -> None:
    link = Link(redis.url)
    with link.trying():
        assert link.client.ping()
    redis.kill()
    with pytest.raises(Away, match="socket"), link.trying():
        link.client.ping()
    with pytest.raises(Away, match="cannot be reached"), link.trying():
        raise AssertionError  # it must not be tried now
    redis.start()
    deadline = time.monotonic() + 15
    while link.outage.away and time.monotonic() < deadline:
        time.sleep(link.outage.wait())
        try:
            with link.trying():
                assert link.client.ping()
        except Away:
            pass
    assert not link.outage.away
    link.client.close()


def test_one_that_does_not_answer_holds_nobody_for_long(redis: RedisServer) -> None:
    link = Link(redis.url)
    redis.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(Away), link.trying():
        link.client.ping()
    assert time.monotonic() - began < TIMEOUT + 5
    redis.signal(signal.SIGCONT)
    link.client.close()


def test_what_redis_refuses_is_an_error_of_ours(redis: RedisServer) -> None:
    link = Link(redis.url)
    with pytest.raises(Away, match="WRONGTYPE"), link.trying():
        link.client.lpush(b"key", "a")
        link.client.incr("key")
    link.client.close()


def test_one_link_for_each_address() -> None:
    assert link_to("redis://a.invalid") is link_to("redis://a.invalid")
    assert link_to("redis://a.invalid") is not link_to("redis://b.invalid")


def test_what_cannot_be_an_address() -> None:
    with pytest.raises(ConfigError, match="TWOGATE_REALTIME_URL"):
        Link("redis://a:port")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r'pip install "twogate\[redis\]"'):
        Link("redis://me:secret@a")
