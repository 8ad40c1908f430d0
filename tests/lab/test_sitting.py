"""Tests and challenges, from their first question to their end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twogate.lab.quiz import earns_badge
from twogate.lab.sitting import ALLOWANCE, CHALLENGE, TEST, Sitting, begin, restore

NOW = 1_700_000_000.0


def sit(mode: str, *, each: float, right: bool = True, count: int = 10) -> Sitting:
    sitting, now = begin(mode, 5, NOW), NOW
    for _ in range(count):
        sitting = sitting.show(now)
        now += each
        sitting = sitting.answer(sitting.question.answer if right else (), now)
    return sitting


def test_all_right_ends_with_the_badge() -> None:
    sitting = sit(TEST, each=500)
    assert sitting.ended == NOW + 5000
    assert earns_badge(sitting.score)


def test_giving_up_leaves_the_rest_unanswered() -> None:
    sitting = sit(TEST, each=1, count=4).give_up(NOW + 9)
    assert (sitting.score.total.asked, sitting.score.total.right) == (10, 4)
    assert sitting.give_up(NOW + 99).ended == NOW + 9
    assert sitting.show(NOW + 99) == sitting


def test_the_time_runs_from_the_first_showing() -> None:
    sitting = begin(CHALLENGE, 5, NOW).show(NOW).show(NOW + 20)
    assert sitting.limit is not None
    assert sitting.left(NOW + 21) == sitting.limit - 21


def test_a_late_answer_counts_as_none() -> None:
    sitting = begin(CHALLENGE, 5, NOW).show(NOW)
    assert sitting.limit is not None
    answer, just = sitting.question.answer, NOW + sitting.limit + ALLOWANCE
    assert sitting.answer(answer, just).score.total.right == 1
    assert sitting.answer(answer, just + 1).score.total.right == 0
    assert sitting.answer(answer, NOW + 1).points > sitting.answer(answer, just).points > 0


def test_nobody_answers_what_was_not_shown() -> None:
    for sitting in (begin(TEST, 5, NOW), sit(TEST, each=1)):
        with pytest.raises(ValueError, match="no question was shown"):
            sitting.answer((0,), NOW)
    with pytest.raises(ValueError, match="a mode is one of"):
        begin("exam", 5, NOW)


@given(st.sampled_from([TEST, CHALLENGE]), st.integers(0, 10), st.booleans())
def test_it_is_kept_as_json(mode: str, count: int, right: bool) -> None:
    sitting = sit(mode, each=3, right=right, count=count)
    assert restore(json.loads(json.dumps(sitting.dump()))) == sitting


good = sit(TEST, each=1, count=3).dump()
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(good)), anything)
def test_what_was_imported_may_be_anything(name: str, value: Any) -> None:
    try:
        sitting = restore({**good, name: value})
    except ValueError:
        return
    assert sitting.ended is not None or sitting.question in sitting.questions
    assert sitting.score.total.asked == len(sitting.questions)


@pytest.mark.parametrize(
    "change",
    [
        {"answers": [[[99], 1.0]]},
        {"answers": [[[0], -1.0]]},
        {"questions": ["wsgi.no_such"]},
        {"answers": [[[], 1.0]] * 10},
        {"mode": "exam"},
    ],
)
def test_what_no_sitting_leaves_behind_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not the state of a test"):
        restore({**good, **change})
