"""A question as a form asks it, and what comes back: positions on the page against the bank's own.

The page knows only the positions in which it shows the options, so it does not hold the answer.
Plain values and no Django: any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from twogate.lab.bank import ALL, LINE, ORDER, Question
from twogate.lab.quiz import is_right, shown

__all__ = ["Asked", "Choice", "Fields", "Told", "Unreadable", "can_be"]


class Unreadable(ValueError):
    """What was sent is no answer to this question; the message tells the learner what to do."""


#: The fields of a form: each name with all its values.
Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Choice:
    """One option as it is shown.

    :ivar place: its place on the page, from 1.
    :ivar text: as the learner reads it.
    :ivar index: its number in the bank, for pages that come after the answer.
    """

    place: int
    text: str
    index: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its options in the order that a seed gives."""

    question: Question
    seed: int

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The options in the order in which they are shown."""
        options = self.question.options
        order = shown(self.question, self.seed)
        return tuple(Choice(n, options[index].text, index) for n, index in enumerate(order, 1))

    def read(self, fields: Fields) -> tuple[int, ...]:
        """The answer that a form brings, in the form of :attr:`Question.answer`.

        :param fields: ``choice`` has what was chosen: places of options or a number of a line;
            for steps ``place-1`` says where the step belongs that is shown first. With ``skip``
            the learner does not know.
        :raises Unreadable: it is none.
        """
        if "skip" in fields:
            return ()
        if self.question.kind == ORDER:
            return self._read_order(fields)
        chosen = [_number(text) for text in fields.get("choice", ())]
        if not chosen:
            raise Unreadable("Nothing is chosen yet. Choose, then send your answer.")
        if self.question.kind != ALL and len(chosen) > 1:
            raise Unreadable("This question has one answer. Choose one.")
        if self.question.kind == LINE:
            return self._checked(tuple(chosen))
        index = {choice.place: choice.index for choice in self.choices}
        return self._checked(tuple(index.get(place, -1) for place in chosen))

    def _read_order(self, fields: Fields) -> tuple[int, ...]:
        sent = [fields.get(f"place-{choice.place}", ("",))[-1] for choice in self.choices]
        places = [_number(text) for text in sent]
        if sorted(places) != [choice.place for choice in self.choices]:
            raise Unreadable("Each step needs a place of its own: no two may have the same.")
        ordered = sorted(zip(places, self.choices, strict=True), key=lambda pair: pair[0])
        return tuple(choice.index for _, choice in ordered)

    def _checked(self, given: tuple[int, ...]) -> tuple[int, ...]:
        if not can_be(self.question, given):
            raise Unreadable("That is none of the answers on the page.")
        return given


@dataclass(frozen=True, slots=True)
class Told:
    """A question after its answer: now the page may say what is right.

    :ivar given: the learner's answer; empty if there was none.
    """

    asked: Asked
    given: tuple[int, ...]

    @property
    def question(self) -> Question:
        """The question."""
        return self.asked.question

    @property
    def right(self) -> bool:
        """Whether the answer is the marked one."""
        return is_right(self.question, self.given)

    @property
    def choices(self) -> list[tuple[Choice, bool, bool]]:
        """The options as they were shown: each with whether it was chosen, and whether it holds."""
        answer = self.question.answer
        return [(c, c.index in self.given, c.index in answer) for c in self.asked.choices]

    @property
    def steps(self) -> list[tuple[str, str]]:
        """The steps in the right order, each with the one that the learner has put there."""
        if self.question.kind != ORDER:
            return []
        texts = [option.text for option in self.question.options]
        return list(zip_longest(texts, (texts[index] for index in self.given), fillvalue=""))


def can_be(question: Question, given: Sequence[int]) -> bool:
    """Whether these are numbers of its options, or of one of its lines; or nothing at all."""
    if question.kind == LINE:
        numbers = range(1, question.code.count("\n") + 2)
    else:
        numbers = range(len(question.options))
    once = len(set(given)) == len(given)
    many = {ALL: range(len(numbers) + 1), ORDER: (0, len(numbers))}.get(question.kind, (0, 1))
    return once and len(given) in many and all(index in numbers for index in given)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise Unreadable("That is none of the answers on the page.")
    return int(text)
