"""What a learner has answered to the questions of the bank, kept as progress of kind "answer".

Each value is ``{"asked": times, "right": times, "last": {"seed": …, "given": […]}}``. Any thread;
blocks on the database.
"""

from __future__ import annotations

from typing import Any

from twogate.lab.asking import Asked, Told, can_be
from twogate.lab.bank import Question
from twogate.lab.web import progress
from twogate.lab.web.models import Learner

__all__ = ["last", "record", "standing"]

_KIND = "answer"


def record(learner: Learner, told: Told) -> None:
    """Keep one more answer."""

    def count(value: Any) -> dict[str, Any]:
        return {
            "asked": _number(value, "asked") + 1,
            "right": _number(value, "right") + told.right,
            "last": {"seed": told.asked.seed, "given": list(told.given)},
        }

    progress.change(learner, _KIND, told.question.key, count)


def last(learner: Learner | None, question: Question) -> Told | None:
    """The newest answer to a question, if there is one."""
    value = progress.value(learner, _KIND, question.key)
    try:
        seed, given = int(value["last"]["seed"]), tuple(map(int, value["last"]["given"]))
    except (TypeError, KeyError, ValueError, OverflowError):  # none, or imported
        return None
    return Told(Asked(question, seed), given) if can_be(question, given) else None


def standing(learner: Learner | None) -> dict[str, bool]:
    """Keys of the questions that were answered, each with whether it was ever answered rightly."""
    values = progress.values(learner, _KIND)
    return {key: _number(value, "right") > 0 for key, value in values.items()}


def _number(value: Any, name: str) -> int:
    """A count; what was imported may be anything."""
    number = value.get(name) if isinstance(value, dict) else None
    return number if isinstance(number, int) else 0
