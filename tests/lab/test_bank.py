"""The bank as a whole, and how a proof's output becomes an answer."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import twogate.lab.questions
from twogate.lab import bank
from twogate.lab.bank import (
    ALL,
    EASY,
    HARD,
    LEVELS,
    LINE,
    MEDIUM,
    ONE,
    ORDER,
    PRINTS,
    TOPICS,
    Facts,
    MissingFact,
    Question,
    all_questions,
    choose_all,
    choose_one,
    find_line,
    find_question,
    order,
    right,
    wrong,
)

MORE = {"hint": "look", "because": ["so it is"], "mistakes": ["not looking"]}
every_question = pytest.mark.parametrize("question", all_questions(), ids=lambda q: q.key)


def test_the_bank_is_large_and_even() -> None:
    questions = all_questions()
    assert len(questions) >= 45
    levels = Counter(question.level for question in questions)
    assert set(levels) == {EASY, MEDIUM, HARD}
    assert min(levels.values()) >= 10
    assert {question.kind for question in questions} == {ONE, ALL, PRINTS, ORDER, LINE}
    topics = Counter(question.topic for question in questions)
    assert set(topics) == set(TOPICS)
    assert min(topics.values()) >= 4


def test_every_topic_has_a_module_and_a_test() -> None:
    folder = Path(twogate.lab.questions.__file__).parent
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    assert modules == set(TOPICS)


def test_keys_are_unique_and_found() -> None:
    keys = [question.key for question in all_questions()]
    assert len(set(keys)) == len(keys)
    assert find_question(keys[0]) is all_questions()[0]
    assert find_question("wsgi.of_tomorrow") is None


@every_question
def test_a_question_is_whole(question: Question) -> None:
    texts = [question.text, question.hint, *question.because, *question.mistakes]
    assert all(text.strip() == text and len(text) > 10 for text in texts)
    assert len(question.because) >= 2
    assert question.mistakes
    assert question.level in LEVELS
    assert all(text.count("`") % 2 == 0 for text in [*texts, *(o.text for o in question.options)])
    ast.parse(question.proof)


@every_question
def test_the_answer_fits_the_kind(question: Question) -> None:
    texts = [option.text for option in question.options]
    assert len(set(texts)) == len(texts)
    assert question.answer
    if question.kind in {ONE, PRINTS}:
        assert len(question.answer) == 1
        assert len(texts) >= 3
    if question.kind == ALL:
        assert 0 < len(question.answer) < len(texts)
    if question.kind == ORDER:
        assert question.answer == tuple(range(len(texts)))
        assert len(texts) >= 3
    if question.kind == LINE:
        assert question.code.splitlines()[question.answer[0] - 1].strip()
    if question.file:
        ast.parse(question.code)


@every_question
def test_a_proof_is_short_and_stays_on_this_machine(question: Question) -> None:
    assert len(question.proof.splitlines()) <= 75
    assert re.findall(r"\b(?!127\.0\.0\.1\b)\d+\.\d+\.\d+\.\d+\b", question.proof) == []
    assert "localhost" not in question.proof


def test_facts_are_lines_with_a_name() -> None:
    facts = Facts("status: 200\nnames: ['a']\nsaid: a: b\nthreads used: 1\nnoise\nstatus: 404\n")
    assert (facts.status, facts.names, facts.said, facts.threads_used) == (404, ["a"], "a: b", 1)
    assert facts.output.endswith("status: 404")
    with pytest.raises(MissingFact, match="colour"):
        _ = facts.colour


def test_what_happened_is_what_the_claims_say() -> None:
    options = [
        wrong("one", lambda f: f.number == 1),
        right("two", lambda f: f.number == 2),
        right("more than one", lambda f: f.number > 1),
    ]

    @choose_all(EASY, "How many?", options, **MORE)
    def count() -> None:
        print("number:", 1 + 1)

    assert count.key == "test_bank.count"
    assert count.answer == (1, 2)
    assert count.happened("number: 2") == (1, 2)
    assert count.happened("number: 1") == (0,)
    assert count.proof == 'print("number:", 1 + 1)\n'
    with pytest.raises(MissingFact):
        count.happened("nothing")


def test_an_order_is_read_from_names() -> None:
    @order(EASY, "Which first?", {"egg": "The egg", "hen": "The hen"}, **MORE)
    def hen() -> None:
        print("order: egg hen")

    assert hen.answer == (0, 1)
    assert hen.happened("order: egg hen") == (0, 1)
    assert hen.happened("order: hen egg") == (1, 0)
    with pytest.raises(MissingFact):
        hen.happened("")


def test_a_line_is_a_number() -> None:
    code = "\n    a\n    b\n"

    @find_line(EASY, "Where?", line=2, holds=lambda f: f.ok, code=code, file="code.py", **MORE)
    def where() -> None:
        print("line: 2")

    assert where.code == "a\nb"
    assert where.files == {"code.py": "a\nb"}
    assert where.happened("ok: True\nline: 2") == where.answer == (2,)
    assert where.happened("ok: False\nline: 2") == ()


def test_what_is_printed_is_the_option() -> None:
    @bank.prints(EASY, "What?", [right("a\nb"), wrong("ab")], **MORE)
    def what() -> None:
        print("a")
        print("b")

    assert what.code == what.proof
    assert what.happened("a\nb\n") == (0,)
    assert what.happened("ab") == (1,)


def test_a_question_without_a_file_has_none() -> None:
    @choose_one(EASY, "Yes?", [right("yes", lambda f: f.said), wrong("no")], **MORE)
    def plain() -> None:
        print("said: True")

    assert plain.files == {}
