"""What a form shows and what it brings back, for every question of the bank."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.asked import form, wrong

from twogate.lab.asking import Asked, Told, Unreadable, can_be
from twogate.lab.bank import ALL, LINE, ONE, ORDER, all_questions

BANK = all_questions()
seeds = st.integers(0, 2**31)
asked = st.builds(Asked, st.sampled_from(BANK), seeds)
fields = st.dictionaries(
    st.sampled_from(["choice", "place-1", "place-2", "place-3", "skip"]),
    st.lists(st.one_of(st.integers(-2, 9).map(str), st.text(max_size=4)), min_size=1, max_size=6),
)


@given(asked)
def test_the_right_answer_comes_back_whatever_the_order(asked: Asked) -> None:
    told = Told(asked, asked.read(form(asked, asked.question.answer)))
    assert told.right
    assert all(chosen == holds for _, chosen, holds in told.choices)
    assert all(right == yours for right, yours in told.steps)
    assert not Told(asked, asked.read(form(asked, wrong(asked)))).right
    assert sorted(choice.place for choice in asked.choices) == list(
        range(1, len(asked.question.options) + 1)
    )


@given(asked, fields)
def test_anything_sent_is_an_answer_or_unreadable(
    asked: Asked, fields: dict[str, list[str]]
) -> None:
    try:
        answer = asked.read(fields)
    except Unreadable as mistake:
        assert str(mistake).endswith(".")
    else:
        assert can_be(asked.question, answer)


def first(kind: str) -> Asked:
    return Asked(next(question for question in BANK if question.kind == kind), 1)


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        (ONE, {}, "Nothing is chosen yet"),
        (ONE, {"choice": ["1", "2"]}, "Choose one"),
        (ONE, {"choice": ["9"]}, "none of the answers"),
        (ONE, {"choice": ["\u0662"]}, "none of the answers"),
        (ALL, {"choice": ["1", "1"]}, "none of the answers"),
        (LINE, {"choice": ["0"]}, "none of the answers"),
        (ORDER, {}, "none of the answers"),
        (ORDER, {f"place-{n}": ["1"] for n in range(1, 9)}, "a place of its own"),
    ],
)
def test_what_is_no_answer_says_the_mend(
    kind: str, fields: dict[str, list[str]], sentence: str
) -> None:
    with pytest.raises(Unreadable, match=sentence):
        first(kind).read(fields)


def test_not_to_know_is_an_answer() -> None:
    assert first(ONE).read({"skip": ["yes"], "choice": ["1"]}) == ()
    assert not Told(first(ONE), ()).right


def test_what_is_told() -> None:
    order, one = first(ORDER), first(ONE)
    texts = [option.text for option in order.question.options]
    assert Told(order, order.question.answer[::-1]).steps == list(
        zip(texts, texts[::-1], strict=True)
    )
    assert Told(order, ()).steps[0] == (texts[0], "")
    chosen = [choice for choice, chosen, _ in Told(one, (1,)).choices if chosen]
    holding = [choice for choice, _, holds in Told(one, (1,)).choices if holds]
    assert [choice.index for choice in chosen] == [1]
    assert [choice.index for choice in holding] == list(one.question.answer)
