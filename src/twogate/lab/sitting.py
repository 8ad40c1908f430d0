"""One sitting of a learner: a test of ten questions, or the timed challenge, as one value.

Each step is a function from a sitting to the next one, so a sitting can be kept as JSON between two
requests and nobody answers twice. Reads no clock: times are handed in, in seconds since the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from twogate.lab.asking import can_be
from twogate.lab.bank import Question, all_questions, find_question
from twogate.lab.quiz import Answered, Score, draw, points, score, time_for

__all__ = ["CHALLENGE", "MODES", "TEST", "Sitting", "begin", "restore"]

TEST, CHALLENGE = "test", "challenge"
MODES = (TEST, CHALLENGE)

#: Seconds beyond its time in which an answer still counts: it was on its way.
ALLOWANCE = 2.0


@dataclass(frozen=True, slots=True)
class Sitting:
    """A test or a challenge, from its first question to its end. Immutable.

    :ivar mode: :data:`TEST` or :data:`CHALLENGE`.
    :ivar seed: what the questions were drawn with, and the order of their options.
    :ivar questions: all of them, in the order in which they are asked.
    :ivar answers: what was answered, to the first so many of them.
    :ivar begun: when it began.
    :ivar asked: when the question that is next was first shown, or ``None``.
    :ivar ended: when it came to its end, or ``None``.
    """

    mode: str
    seed: int
    questions: tuple[Question, ...]
    begun: float
    answers: tuple[Answered, ...] = ()
    asked: float | None = None
    ended: float | None = None

    @property
    def question(self) -> Question:
        """The question that is to be answered next; there is one until the sitting ended."""
        return self.questions[len(self.answers)]

    @property
    def limit(self) -> int | None:
        """Seconds for that question; ``None`` in a test, which takes all the time in the world."""
        return time_for(self.question) if self.mode == CHALLENGE else None

    def left(self, now: float) -> float:
        """Seconds that are left for it; may be negative, and is endless in a test."""
        if self.limit is None or self.asked is None:
            return math.inf
        return self.limit - (now - self.asked)

    def show(self, now: float) -> Sitting:
        """The question is before the learner; its time runs from the first time on."""
        known = self.asked is not None or self.ended is not None
        return self if known else replace(self, asked=now)

    def answer(self, given: tuple[int, ...], now: float) -> Sitting:
        """The question is answered; an answer that comes too late counts as none.

        :param given: in the form of :attr:`twogate.lab.bank.Question.answer`.
        :raises ValueError: the question was not shown, or there is none left.
        """
        if self.ended is not None or self.asked is None:
            raise ValueError("no question was shown")
        taken = max(0.0, now - self.asked)
        if self.limit is not None:
            given = given if taken <= self.limit + ALLOWANCE else ()
            taken = min(taken, self.limit)
        answers = (*self.answers, Answered(self.question, given, taken))
        ended = now if len(answers) == len(self.questions) else None
        return replace(self, answers=answers, asked=None, ended=ended)

    def give_up(self, now: float) -> Sitting:
        """No more questions; those that are left count as not answered."""
        return self if self.ended is not None else replace(self, asked=None, ended=now)

    @property
    def outcome(self) -> tuple[Answered, ...]:
        """Every question with what was answered to it."""
        rest = self.questions[len(self.answers) :]
        return (*self.answers, *(Answered(question, ()) for question in rest))

    @property
    def score(self) -> Score:
        """How many were answered rightly."""
        return score(self.outcome)

    @property
    def points(self) -> int:
        """Points of a challenge."""
        return sum(points(answer) for answer in self.answers)

    def dump(self) -> dict[str, Any]:
        """All of it as JSON, for :func:`restore`."""
        return {
            "mode": self.mode,
            "seed": self.seed,
            "questions": [question.key for question in self.questions],
            "answers": [[list(a.given), round(a.seconds, 3)] for a in self.answers],
            "begun": self.begun,
            "asked": self.asked,
            "ended": self.ended,
        }


def begin(mode: str, seed: int, now: float) -> Sitting:
    """A new sitting with ten questions of the bank.

    :raises ValueError: there is no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"a mode is one of {', '.join(MODES)} and not {mode!r}")
    return Sitting(mode, seed, draw(all_questions(), seed), now)


def restore(value: Any) -> Sitting:
    """What :meth:`Sitting.dump` wrote.

    :raises ValueError: it is something else, or asks a question that is no longer in the bank.
    """
    try:
        sitting = _read(value)
        whole = len(sitting.answers) == len(sitting.questions)
        if len(sitting.answers) > len(sitting.questions) or (whole and sitting.ended is None):
            raise ValueError("answers without questions")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError("this is not the state of a test") from error
    return sitting


def _read(value: Mapping[str, Any]) -> Sitting:
    questions = tuple(_question(key) for key in value["questions"])
    answers = zip(questions, value["answers"], strict=False)
    if value["mode"] not in MODES or len(value["answers"]) > len(questions):
        raise ValueError("no such mode")
    return Sitting(
        mode=value["mode"],
        seed=int(value["seed"]),
        questions=questions,
        begun=_time(value["begun"]),
        answers=tuple(
            Answered(question, _given(question, given), _time(seconds))
            for question, (given, seconds) in answers
        ),
        asked=None if value["asked"] is None else _time(value["asked"]),
        ended=None if value["ended"] is None else _time(value["ended"]),
    )


def _question(key: Any) -> Question:
    if (question := find_question(key)) is None:
        raise ValueError(f"no question {key!r}")
    return question


def _given(question: Question, value: Any) -> tuple[int, ...]:
    given = tuple(int(index) for index in value)
    if not can_be(question, given):
        raise ValueError(f"no answer: {value!r}")
    return given


def _time(value: Any) -> float:
    """Seconds that a date can be made of."""
    if not 0 <= (time := float(value)) < 1e11:
        raise ValueError(f"no time: {value!r}")
    return time
