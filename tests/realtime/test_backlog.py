"""Frames that wait for one slow sink, and what the hub counts of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twogate.realtime.backlog import Backlog
from twogate.realtime.hub import CLOSE, DROP_OLDEST, Hub


class Stuck:
    """A sink whose peer does not read at all."""

    def __init__(self, hub: Hub) -> None:
        self.backlog = Backlog(hub)

    def offer(self, frame: bytes) -> bool:
        return self.backlog.add(frame)


def stuck(**options: int | str) -> tuple[Hub, Stuck]:
    hub = Hub(**options)  # type: ignore[arg-type]
    sink = Stuck(hub)
    hub.join("t", sink)
    return hub, sink


def test_what_waits_is_taken_in_order() -> None:
    hub, sink = stuck(backlog=1000)
    for number in range(5):
        hub.deliver("t", str(number))
    assert (hub.statistics().waiting, hub.statistics().delivered) == (5, 0)
    assert [sink.backlog.take()[2:] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert (hub.statistics().waiting, hub.statistics().delivered) == (0, 5)
    with pytest.raises(IndexError):
        sink.backlog.take()


def test_the_oldest_go() -> None:
    hub, sink = stuck(backlog=10 * 102, slow_reader=DROP_OLDEST)
    for number in range(25):
        assert hub.deliver("t", f"{number:100}") == 1
    assert len(sink.backlog) == 10
    assert int(sink.backlog.take()[2:]) == 15
    statistics = hub.statistics()
    assert (statistics.delivered, statistics.dropped, statistics.waiting) == (1, 15, 9)
    assert statistics.closed == 0


def test_a_message_larger_than_the_backlog_waits_alone() -> None:
    hub, sink = stuck(backlog=100, slow_reader=DROP_OLDEST)
    hub.deliver("t", "small")
    hub.deliver("t", "x" * 1000)
    assert len(sink.backlog) == 1
    hub.deliver("t", "small")
    assert sink.backlog.take() == b"\x81\x05small"
    assert hub.statistics().dropped == 2


def test_with_the_other_policy_it_is_closed_and_all_is_dropped() -> None:
    hub, sink = stuck(backlog=1000, slow_reader=CLOSE)
    taken = [hub.deliver("t", "x" * 98) for _ in range(11)]
    assert taken == [1] * 10 + [0]
    statistics = hub.statistics()
    assert (statistics.closed, statistics.dropped, statistics.waiting) == (1, 11, 0)
    assert statistics.delivered == 0
    assert len(sink.backlog) == 0


@given(
    st.lists(st.one_of(st.just("take"), st.just("discard"), st.integers(0, 300)), max_size=60),
    st.integers(0, 500),
    st.sampled_from((CLOSE, DROP_OLDEST)),
)
def test_it_is_bounded_and_every_frame_is_counted_once(
    steps: list[str | int], limit: int, policy: str
) -> None:
    hub, sink = stuck(backlog=limit, slow_reader=policy)
    offered = 0
    for step in steps:
        if isinstance(step, int):
            hub.deliver_frame("t", bytes(step))
            offered += 1
        elif step == "discard":
            sink.backlog.discard()
        elif sink.backlog:
            sink.backlog.take()
        waiting = list(sink.backlog._frames)
        assert sum(map(len, waiting)) == sink.backlog._size
        assert sink.backlog._size <= limit or len(waiting) == 1
        statistics = hub.statistics()
        assert statistics.waiting == len(waiting)
        assert statistics.delivered + statistics.dropped + statistics.waiting == offered
        assert statistics.delivered >= 0
