"""The test of ten questions, the timed challenge, scores and the badge, as pure functions.

Nothing here runs, stores or shows anything. A learner's answer has the form of
:attr:`twogate.lab.bank.Question.answer`: indices of options, or the number of a line.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from twogate.lab.bank import ALL, EASY, HARD, LEVELS, LINE, MEDIUM, ORDER, Question

__all__ = [
    "Answered",
    "Score",
    "Tally",
    "draw",
    "earns_badge",
    "is_right",
    "points",
    "score",
    "shown",
    "time_for",
]

#: Questions of one test.
TEN = 10
#: Seconds that the timed challenge gives for a question, and the points for a right answer.
_SECONDS = {EASY: 30, MEDIUM: 45, HARD: 60}
_POINTS = {EASY: 100, MEDIUM: 200, HARD: 300}


def draw(questions: Iterable[Question], seed: int, count: int = TEN) -> tuple[Question, ...]:
    """A test: easy questions first, levels as even as can be, topics repeated as late as can be.

    The same questions and the same seed give the same test, whatever the order of the questions.

    :param count: how many; fewer come back only when there are fewer.
    """
    dice = random.Random(seed)
    left = sorted(questions, key=lambda question: question.key)
    dice.shuffle(left)
    used: Counter[str] = Counter()
    drawn: list[Question] = []
    for turn in range(min(count, len(left))):
        level = LEVELS[turn % len(LEVELS)]
        # `min` takes the first of equals, and these were shuffled.
        best = min(left, key=lambda question: (question.level != level, used[question.topic]))
        left.remove(best)
        used[best.topic] += 1
        drawn.append(best)
    return tuple(sorted(drawn, key=lambda question: LEVELS.index(question.level)))


def shown(question: Question, seed: int) -> tuple[int, ...]:
    """The order in which its options are shown: a permutation of their indices.

    Steps that are to be put in order are never shown in order.
    """
    indices = list(range(len(question.options)))
    dice = random.Random(f"{seed} {question.key}")
    dice.shuffle(indices)
    if question.kind == ORDER and tuple(indices) == question.answer:
        indices.append(indices.pop(0))
    return tuple(indices)


def is_right(question: Question, given: Sequence[int]) -> bool:
    """Whether a learner's answer is the marked one; in which order options were ticked is no
    matter, unless the question is about the order."""
    if question.kind in {ORDER, LINE}:
        return tuple(given) == question.answer
    return sorted(given) == sorted(question.answer)


@dataclass(frozen=True, slots=True)
class Answered:
    """A question and what a learner answered.

    :ivar given: see :func:`is_right`; empty when nothing was answered.
    :ivar seconds: how long it took.
    """

    question: Question
    given: tuple[int, ...]
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether it is the marked answer."""
        return is_right(self.question, self.given)


@dataclass(slots=True)
class Tally:
    """How many were asked and how many of them answered rightly."""

    asked: int = 0
    right: int = 0

    def add(self, right: bool) -> None:
        """Count one more."""
        self.asked += 1
        self.right += right


@dataclass(slots=True)
class Score:
    """The result of a test; topics and levels that were not asked are not in it."""

    total: Tally = field(default_factory=Tally)
    topics: dict[str, Tally] = field(default_factory=dict)
    levels: dict[str, Tally] = field(default_factory=dict)


def score(answers: Iterable[Answered]) -> Score:
    """Count right answers: all, by topic and by level."""
    result = Score()
    for answer in answers:
        question = answer.question
        topic = result.topics.setdefault(question.topic, Tally())
        level = result.levels.setdefault(question.level, Tally())
        for tally in (result.total, topic, level):
            tally.add(answer.right)
    return result


def earns_badge(result: Score) -> bool:
    """Whether a whole test was answered, and all of it rightly."""
    return result.total.asked >= TEN and result.total.right == result.total.asked


def time_for(question: Question) -> int:
    """Seconds that the timed challenge gives for it; reading several claims takes longer."""
    return _SECONDS[question.level] + (15 if question.kind in {ALL, ORDER} else 0)


def points(answer: Answered) -> int:
    """Points in the timed challenge: none if it is wrong or late, more for harder questions, and up
    to half as many again for a quick answer."""
    limit = time_for(answer.question)
    if not answer.right or not 0 <= answer.seconds <= limit:
        return 0
    left = 1 - answer.seconds / limit
    return round(_POINTS[answer.question.level] * (1 + left / 2))
