"""One outage for all who use a server: nobody waits, somebody tries, the log says when."""

from __future__ import annotations

import pytest

from twogate.realtime.outage import LONGEST_PAUSE, Away, Outage


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage("redis://there", clock)


def test_while_it_is_away_one_tries_after_each_pause(outage: Outage, clock: Clock) -> None:
    assert outage.may_try()
    assert outage.wait() == 0.0
    outage.failed(OSError("refused"))
    assert outage.away
    assert not outage.may_try()
    assert 0 < outage.wait() <= 0.1
    clock.now += 0.11
    assert outage.may_try()
    assert not outage.may_try()
    assert isinstance(outage.error(), Away)
    assert str(outage.error()) == "redis://there cannot be reached: refused"


def test_pauses_grow_to_an_end(outage: Outage, clock: Clock) -> None:
    waits = []
    for _ in range(20):
        outage.failed(OSError("refused"))
        waits.append(outage.wait())
        clock.now += outage.wait()
    assert waits[0] <= 0.1
    assert LONGEST_PAUSE / 2 <= waits[-1] <= LONGEST_PAUSE


def test_many_who_fail_at_once_do_not_make_the_pause_longer(outage: Outage) -> None:
    for _ in range(100):
        outage.failed(OSError("refused"))
    assert outage.wait() <= 0.1
    assert outage.count == 1


def test_its_beginning_and_its_end_are_told_once(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        outage.failed(TimeoutError())
        clock.now += 2
    outage.worked()
    outage.worked()
    assert [record.getMessage() for record in caplog.records] == [
        "redis://there cannot be reached: TimeoutError. It is tried again until it is back.",
        "redis://there is back after 6.0 s.",
    ]
    assert not outage.away
    assert outage.may_try()
