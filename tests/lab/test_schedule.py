"""The scheduler of recall cards: for any history of reviews, and for any text as its state."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twogate.lab.schedule import AGAIN, EASY, GOOD, HARD, RATINGS, Memory, fresh, intervals, restore

NOW = datetime(2030, 1, 1, tzinfo=UTC)
histories = st.lists(
    st.tuples(st.sampled_from(RATINGS), st.timedeltas(timedelta(0), timedelta(days=400)))
)


def after(history: list[tuple[str, timedelta]]) -> tuple[Memory, datetime]:
    memory, now = fresh(NOW), NOW
    for rating, pause in history:
        now += pause
        memory = memory.review(rating, now)
    return memory, now


def test_a_new_card_is_due_at_once() -> None:
    memory = fresh(NOW)
    assert memory.is_due(NOW)
    assert not memory.is_due(NOW - timedelta(seconds=1))
    assert memory.chance(NOW) == 0


def test_a_card_that_is_known_comes_later_each_time() -> None:
    memory, now, pauses = fresh(NOW), NOW, []
    for _ in range(6):
        memory = memory.review(GOOD, now)
        pauses.append(memory.due - now)
        now = memory.due
    assert pauses == sorted(pauses)
    assert pauses[0] == timedelta(minutes=10)
    assert pauses[-1] > timedelta(days=30)


def test_a_card_that_is_forgotten_comes_back_soon() -> None:
    memory = fresh(NOW).review(EASY, NOW)
    later = memory.due
    assert memory.review(AGAIN, later).due - later < timedelta(hours=1)


@given(histories)
def test_better_ratings_never_bring_a_card_sooner(history: list[tuple[str, timedelta]]) -> None:
    memory, now = after(history)
    pauses = intervals(memory, now)
    assert list(pauses) == [AGAIN, HARD, GOOD, EASY]
    assert list(pauses.values()) == sorted(pauses.values())
    assert min(pauses.values()) > timedelta(0)


@given(histories, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_state_survives_storing(history: list[tuple[str, timedelta]], pause: timedelta) -> None:
    memory, now = after(history)
    again = restore(memory.dump())
    assert again == memory
    assert 0 <= again.chance(now + pause) <= 1
    assert intervals(again, now + pause) == intervals(memory, now + pause)


@given(histories)
def test_a_review_changes_only_its_result(history: list[tuple[str, timedelta]]) -> None:
    memory, now = after(history)
    before = memory.dump()
    memory.review(GOOD, now)
    assert memory.dump() == before


def test_an_unknown_rating_is_refused() -> None:
    with pytest.raises(ValueError, match="again, hard, good, easy"):
        fresh(NOW).review("superb", NOW)


def test_a_time_without_utc_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        fresh(NOW).review(GOOD, NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="UTC"):
        fresh(NOW).review(GOOD, NOW.astimezone(timezone(timedelta(hours=2))))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "7", "[" * 100000, "{" * 9])
def test_other_texts_are_no_state(text: str) -> None:
    with pytest.raises(ValueError, match="recall card"):
        restore(text)


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.lists(st.integers()),
    st.sampled_from(["", "1", "nan", NOW.isoformat(), "2030-01-01", "0001-01-01T00:00:00+00:00"]),
)  # fmt: skip


@given(histories, st.dictionaries(st.sampled_from(sorted(json.loads(fresh(NOW).dump()))), values))
def test_a_changed_state_is_refused_or_works(
    history: list[tuple[str, timedelta]], changes: dict[str, Any]
) -> None:
    memory, now = after(history)
    text = json.dumps(json.loads(memory.dump()) | changes)
    try:
        restored = restore(text)
    except ValueError:
        return
    for rating in RATINGS:
        assert restored.review(rating, now + timedelta(days=1)).due.tzinfo == UTC
    assert 0 <= restored.chance(now) <= 1
