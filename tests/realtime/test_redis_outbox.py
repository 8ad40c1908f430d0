"""An outbox sends in order, waits for nobody, and hands back what it could not send."""

from __future__ import annotations

import os
import threading

from twogate.realtime.outage import Away
from twogate.realtime.redis_outbox import Outbox, Reason

from .conftest import DEADLINE, wait_until


class Redis:
    """Takes messages, unless it is away or slow."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.lost: dict[str, int] = {"unreachable": 0, "backlog": 0}
        self.away = False
        self.go_on = threading.Event()
        self.go_on.set()
        self.outbox: Outbox[int] = Outbox(self.send, self.lose)

    def send(self, messages: list[int]) -> None:
        assert self.go_on.wait(DEADLINE)
        if self.away:
            raise Away
        self.taken += messages

    def lose(self, reason: Reason, messages: list[int]) -> None:
        self.lost[reason] += len(messages)


def test_order_is_kept_and_the_end_waits_for_the_rest() -> None:
    redis = Redis()
    for number in range(2000):
        redis.outbox.put(number, 10)
    redis.outbox.close()
    assert redis.taken == list(range(2000))
    assert redis.lost == {"unreachable": 0, "backlog": 0}


def test_each_message_is_taken_or_lost() -> None:
    redis = Redis()
    redis.outbox.put(0, 10)
    wait_until(lambda: redis.taken == [0])
    redis.away = True
    for number in range(1, 11):
        redis.outbox.put(number, 10)
    wait_until(lambda: redis.lost["unreachable"] == 10)
    redis.away = False
    redis.outbox.put(11, 10)
    redis.outbox.close()
    assert redis.taken == [0, 11]


def test_what_waits_is_bounded() -> None:
    redis = Redis()
    redis.go_on.clear()
    for number in range(100):
        redis.outbox.put(number, 1 << 20)
    assert 90 <= redis.lost["backlog"] < 100
    redis.go_on.set()
    redis.outbox.close()
    assert len(redis.taken) + redis.lost["backlog"] == 100


def test_a_child_sends_its_own() -> None:
    redis = Redis()
    redis.go_on.clear()
    redis.outbox.put(1, 10)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        redis.go_on = threading.Event()
        redis.go_on.set()
        redis.outbox.put(2, 10)
        redis.outbox.close()
        os.write(writer, repr(redis.taken).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 100) == b"[2]"
    redis.go_on.set()
    redis.outbox.close()
    assert redis.taken == [1]
    os.close(reader)
    os.close(writer)
