"""The questions of a topic, and the check that a question's proof gives its marked answer."""

from __future__ import annotations

import importlib

import pytest

from twogate.lab.bank import Facts, MissingFact, Option, Question
from twogate.lab.runner import run

__all__ = ["check_claims_look", "check_proof", "proofs"]


def proofs(topic: str) -> pytest.MarkDecorator:
    """Parametrises a test by the questions of a topic."""
    module = importlib.import_module(f"twogate.lab.questions.{topic}")
    found = [value for value in vars(module).values() if isinstance(value, Question)]
    return pytest.mark.parametrize("question", found, ids=lambda question: question.key)


def check_proof(question: Question) -> None:
    """Run the proof in a fresh process; what happened must be what is marked."""
    done = run(question.proof, question.files, timeout=60)
    told = f"{done.end}, status {done.status}\n{done.output}\n{done.errors}"
    assert done.fine, told
    assert done.errors == "", told
    assert question.happened(done.output) == question.answer, told


def check_claims_look(question: Question) -> None:
    """No claim holds, and no line is found, when nothing happened."""
    assert [option.text for option in question.options if _holds(option)] == []
    with pytest.raises((MissingFact, AssertionError)):
        assert question.happened("") == question.answer


def _holds(option: Option) -> bool:
    try:
        return bool(option.holds(Facts("")))
    except MissingFact:
        return False
