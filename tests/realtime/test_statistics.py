"""What is dropped is counted always, and logged seldom."""

from __future__ import annotations

import pytest

from twogate.realtime.statistics import DELAY, PAUSE, Drops


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_line_says_how_many_and_why(caplog: pytest.LogCaptureFixture) -> None:
    clock, calls = Clock(), list[str]()
    drops = Drops(lambda: calls.append("notified"), clock=clock)
    assert drops.report() is None
    drops.add("capacity", 2, "chat")
    drops.add("expired", 0, "nothing")
    drops.add("backlog", 1, "news")
    assert calls == ["notified"]
    assert drops.report() == DELAY
    clock.now += DELAY
    assert drops.report() is None
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        (
            "twogate.realtime",
            "WARNING",
            "Channel layer dropped 3 messages in 5 s, the first for 'chat': 2 for channels at"
            " capacity, 1 for a process that does not read.",
        )
    ]
    assert drops.counts() == {"capacity": 2, "expired": 0, "backlog": 1, "gone": 0}


def test_the_next_line_comes_a_minute_later(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    drops = Drops(lambda: None, "A part of the whole", clock)
    drops.add("gone", 1, "a")
    clock.now += DELAY
    drops.report()
    for _ in range(3):
        drops.add("gone", 1, "b")
    assert drops.report() == PAUSE
    clock.now += PAUSE - 1
    assert drops.report() == 1
    assert len(caplog.records) == 1
    clock.now += 1
    drops.report()
    assert "dropped 3 messages in 60 s" in caplog.records[1].getMessage()


def test_the_end_waits_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    drops = Drops(lambda: None)
    drops.add("expired", 1, "a")
    assert drops.report(at_once=True) is None
    assert "1 expired unread" in caplog.text
