"""Tests, scores and badges: pure functions, so for any bank, seed and answers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from twogate.lab.bank import ALL, EASY, LEVELS, LINE, ORDER, Question, all_questions, find_question
from twogate.lab.quiz import (
    TEN,
    Answered,
    draw,
    earns_badge,
    is_right,
    points,
    score,
    shown,
    time_for,
)

BANK = all_questions()
seeds = st.integers(0, 2**64)
questions = st.sampled_from(BANK)
banks = st.lists(questions, unique_by=lambda question: question.key)
seconds = st.floats(0, 200)


@st.composite
def answers(draw: st.DrawFn) -> Answered:
    question = draw(questions)
    some = st.lists(st.integers(0, 6), unique=True).map(tuple)
    given_answer = draw(st.one_of(st.just(question.answer), some))
    return Answered(question, given_answer, draw(seconds))


@given(seeds)
def test_a_test_is_ten_questions_over_levels_and_topics(seed: int) -> None:
    test = draw(BANK, seed)
    assert len({question.key for question in test}) == TEN
    levels = Counter(question.level for question in test)
    assert sorted(levels.values()) == [3, 3, 4]
    assert max(Counter(question.topic for question in test).values()) <= 2
    assert [question.level for question in test] == sorted(
        (question.level for question in test), key=LEVELS.index
    )


@given(banks, seeds)
def test_the_same_seed_gives_the_same_test(bank: list[Question], seed: int) -> None:
    assert draw(bank, seed) == draw(bank[::-1], seed)


@given(banks, seeds, st.integers(0, 100))
def test_a_small_bank_gives_what_it_has(bank: list[Question], seed: int, count: int) -> None:
    drawn = draw(bank, seed, count)
    assert len(drawn) == len({question.key for question in drawn}) == min(count, len(bank))
    assert set(drawn) <= set(bank)


def test_other_seeds_give_other_tests() -> None:
    assert len({draw(BANK, seed) for seed in range(50)}) > 45


@given(questions, seeds)
def test_options_are_shown_in_some_order(question: Question, seed: int) -> None:
    order = shown(question, seed)
    assert order == shown(question, seed)
    assert sorted(order) == list(range(len(question.options)))
    if question.kind == ORDER:
        assert order != question.answer


@given(questions)
def test_the_marked_answer_is_right_and_less_or_more_is_not(question: Question) -> None:
    assert is_right(question, question.answer)
    assert not is_right(question, ())
    assert not is_right(question, [*question.answer, 99])
    assert not is_right(question, [*question.answer, *question.answer])


@given(questions)
def test_the_order_of_ticks_matters_only_for_orders(question: Question) -> None:
    turned = question.answer[::-1]
    assert is_right(question, turned) == (question.kind != ORDER or turned == question.answer)


def test_the_neighbouring_line_is_wrong() -> None:
    question = next(question for question in BANK if question.kind == LINE)
    assert not is_right(question, [question.answer[0] + 1])


@given(st.lists(answers()))
def test_a_score_adds_up(given_answers: list[Answered]) -> None:
    result = score(given_answers)
    assert result.total.asked == len(given_answers)
    assert result.total.right == sum(answer.right for answer in given_answers)
    for part in (result.topics, result.levels):
        assert sum(tally.asked for tally in part.values()) == result.total.asked
        assert sum(tally.right for tally in part.values()) == result.total.right
        assert all(0 <= tally.right <= tally.asked > 0 for tally in part.values())


@given(seeds, st.integers(0, 9))
def test_the_badge_is_for_all_ten_right(seed: int, wrong: int) -> None:
    test = draw(BANK, seed)
    perfect = [Answered(question, question.answer) for question in test]
    assert earns_badge(score(perfect))
    assert not earns_badge(score(perfect[:-1]))
    assert not earns_badge(
        score([*perfect[:wrong], Answered(test[wrong], ()), *perfect[wrong + 1 :]])
    )
    assert not earns_badge(score([]))


@given(answers(), seconds)
def test_points_are_for_right_answers_in_time(answer: Answered, other: float) -> None:
    limit = time_for(answer.question)
    earned = points(answer)
    if not answer.right or answer.seconds > limit:
        assert earned == 0
    else:
        assert 100 <= earned <= 450
    slower = Answered(answer.question, answer.given, max(answer.seconds, other))
    assert points(slower) <= earned


def test_times_and_points_by_level() -> None:
    easy = find_question("views.async_view_through_wsgi")
    hard = find_question("databases.connections_that_persist")
    assert easy is not None and hard is not None
    assert easy.level == EASY
    assert (time_for(easy), time_for(hard)) == (30, 60)
    assert points(Answered(easy, easy.answer, 0)) == 150
    assert points(Answered(easy, easy.answer, 30)) == 100
    assert points(Answered(hard, hard.answer, 30)) == 375
    assert points(Answered(hard, hard.answer, -1)) == 0
    assert all(time_for(question) >= 45 for question in BANK if question.kind == ALL)
