"""What is missing is what never came: in any order, with doubles, and with holes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twogate.realtime.gaps import GRACE, Gaps, Sequence


class Missing:
    """What was given up, and a clock."""

    def __init__(self) -> None:
        self.count = 0
        self.targets: set[str] = set()
        self.now = 0.0
        self.gaps = Gaps(self.add, lambda: self.now)

    def add(self, count: int, target: str) -> None:
        self.count += count
        self.targets.add(target)


def test_a_hole_counts_when_it_was_waited_for() -> None:
    missing, sequence = Missing(), Sequence()
    marks = [sequence.next("room") for _ in range(5)]
    for mark in (marks[0], marks[4]):
        assert missing.gaps.note(mark)
    missing.gaps.settle()
    assert missing.count == 0
    assert missing.gaps.note(marks[2])  # late
    missing.now = GRACE
    missing.gaps.settle()
    assert missing.count == 2
    assert missing.targets == {"room"}


def test_targets_and_senders_are_numbered_apart() -> None:
    missing = Missing()
    for sequence in (Sequence(), Sequence()):
        for target in ("a", "b", "a"):
            assert missing.gaps.note(sequence.next(target))
    missing.gaps.settle(at_once=True)
    assert missing.count == 0


def test_who_left_and_came_back_misses_nothing_of_the_time_between() -> None:
    missing, sequence = Missing(), Sequence()
    missing.gaps.note(sequence.next("a"))
    missing.gaps.forget("a")
    sequence.next("a")
    missing.gaps.note(sequence.next("a"))
    missing.gaps.settle(at_once=True)
    assert missing.count == 0


def test_a_hole_that_is_too_wide_to_be_waited_for_counts_at_once() -> None:
    missing = Missing()
    missing.gaps.note(("a", "s", 1))
    missing.gaps.note(("a", "s", 50_000))
    assert missing.count == 49_998


def test_what_is_remembered_is_bounded() -> None:
    missing, sequence = Missing(), Sequence()
    for number in range(10_050):
        missing.gaps.note(sequence.next(str(number)))
    assert len(missing.gaps._targets) == len(sequence._streams) == 10_000


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_any_order(numbers: list[int]) -> None:
    missing = Missing()
    for seen, number in enumerate(numbers):
        if number >= numbers[0]:  # what is older than the first is not known
            assert missing.gaps.note(("a", "s", number)) == (number not in numbers[:seen])
        else:
            assert missing.gaps.note(("a", "s", number))
    missing.gaps.settle(at_once=True)
    since = range(numbers[0], max(numbers) + 1)
    assert missing.count == len(set(since) - set(numbers))
