"""The question bank: what a question is, the five kinds of it, and how a proof's output answers it.

Questions are data with one function each: the proof. Its body is a program of its own, which prints
facts (``name: value``, one a line). Each option claims something about these facts, so a run of the
proof says which options are true. Nothing here runs a proof; :mod:`twogate.lab.runner` does.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

__all__ = [
    "ALL",
    "EASY",
    "HARD",
    "LEVELS",
    "LINE",
    "MEDIUM",
    "ONE",
    "ORDER",
    "PRINTS",
    "TOPICS",
    "Facts",
    "MissingFact",
    "Option",
    "Question",
    "all_questions",
    "choose_all",
    "choose_one",
    "find_line",
    "find_question",
    "order",
    "prints",
    "right",
    "wrong",
]

EASY, MEDIUM, HARD = "easy", "medium", "hard"
LEVELS = (EASY, MEDIUM, HARD)

#: The kinds: choose one, choose all that hold, what does this print, put in order, find the line.
ONE, ALL, PRINTS, ORDER, LINE = "one", "all", "prints", "order", "line"

#: Modules of :mod:`twogate.lab.questions`, in the order of learning, with their titles.
TOPICS = {
    "wsgi": "WSGI",
    "asgi": "ASGI",
    "servers": "Servers and entry points",
    "views": "Sync and async views",
    "middleware": "Middleware",
    "threads": "Threads and loops",
    "websockets": "WebSockets",
    "channels": "Consumers and layers",
    "databases": "Databases",
    "streaming": "Streaming",
    "deployment": "Deployment",
}


class MissingFact(LookupError):
    """A claim is about a fact that the proof did not print."""


class Facts:
    """What a proof printed, with its ``name: value`` lines as attributes.

    A blank in a name becomes ``_``; a value that reads as a Python literal is one, any other is a
    string. Of two lines with one name the later counts. ``output`` is all that was printed, without
    blanks at its ends.

    :raises MissingFact: (an attribute) no line gave it.
    """

    def __init__(self, output: str) -> None:
        self.output = output.strip()
        self._values = dict(_facts(output))

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise MissingFact(f"the proof printed no line “{name}: …”") from None


def _facts(output: str) -> Sequence[tuple[str, Any]]:
    lines = [line.partition(":") for line in output.splitlines()]
    return [(name.strip().replace(" ", "_"), _value(rest)) for name, colon, rest in lines if colon]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()


#: Whether something holds, given what a proof printed.
Claim: TypeAlias = Callable[[Facts], object]


@dataclass(frozen=True, slots=True)
class Option:
    """One thing to choose.

    :ivar text: as the learner reads it.
    :ivar holds: its claim.
    :ivar right: whether it is marked as part of the answer.
    """

    text: str
    holds: Claim
    right: bool


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its answer and its proof.

    :ivar key: ``topic.name``, stable: progress is kept under it.
    :ivar kind: one of :data:`ONE`, :data:`ALL`, :data:`PRINTS`, :data:`ORDER`, :data:`LINE`.
    :ivar options: what there is to choose from; for :data:`ORDER` the steps, in the right order.
    :ivar code: what the question is about, or ``""``.
    :ivar file: the name under which the proof finds that code in its folder, or ``""``.
    :ivar answer: for :data:`LINE` the number of the line (from 1); else indices of options: those
        that are right, for :data:`ORDER` all of them in order.
    :ivar because: the explanation, step by step.
    :ivar proof: a program, which prints facts.
    """

    key: str
    topic: str
    level: str
    kind: str
    text: str
    options: tuple[Option, ...]
    code: str
    file: str
    answer: tuple[int, ...]
    hint: str
    because: tuple[str, ...]
    mistakes: tuple[str, ...]
    proof: str
    _happened: Callable[[Facts], tuple[int, ...]]

    @property
    def files(self) -> dict[str, str]:
        """What the proof must find in its folder: names and texts."""
        return {self.file: self.code} if self.file else {}

    def happened(self, output: str) -> tuple[int, ...]:
        """The answer that a run of the proof gives, in the form of :attr:`answer`.

        :raises MissingFact: the output has no line that a claim is about.
        """
        return self._happened(Facts(output))


#: Makes a question of a proof.
Decorator: TypeAlias = Callable[[Callable[[], None]], Question]


def right(text: str, holds: Claim | None = None) -> Option:
    """An option that belongs to the answer. Without a claim it says what the proof prints."""
    return Option(text, holds or _is_output(text), True)


def wrong(text: str, holds: Claim | None = None) -> Option:
    """An option that does not; its claim must turn out false."""
    return Option(text, holds or _is_output(text), False)


def _is_output(text: str) -> Claim:
    return lambda facts: facts.output == text.strip()


def choose_one(level: str, text: str, options: Sequence[Option], **more: Any) -> Decorator:
    """A question with one right option.

    All five kinds take ``hint``, ``because`` (steps) and ``mistakes``, and if the question is about
    some code ``code``, with the ``file`` that the proof finds it in.
    """
    return _question(ONE, level, text, options, **more)


def choose_all(level: str, text: str, options: Sequence[Option], **more: Any) -> Decorator:
    """A question with any number of right options."""
    return _question(ALL, level, text, options, **more)


def prints(level: str, text: str, options: Sequence[Option], **more: Any) -> Decorator:
    """What does this print? The proof itself is the code that is asked about."""
    return _question(PRINTS, level, text, options, **more)


def order(level: str, text: str, steps: Mapping[str, str], **more: Any) -> Decorator:
    """Put the steps in order.

    :param steps: names of steps and their texts, in the right order; the proof prints these names
        in the order in which it saw them: ``order: a b c``.
    """
    names = list(steps)

    def happened(facts: Facts) -> tuple[int, ...]:
        return tuple(names.index(name) for name in facts.order.split())

    options = [Option(step, lambda facts: facts.order, True) for step in steps.values()]
    return _question(ORDER, level, text, options, happened=happened, **more)


def find_line(level: str, text: str, *, line: int, holds: Claim, **more: Any) -> Decorator:
    """Find the line of ``code``.

    :param line: its number, from 1; the proof prints it: ``line: 4``.
    :param holds: what the text says of that line, as a claim.
    """

    def happened(facts: Facts) -> tuple[int, ...]:
        return (facts.line,) if holds(facts) else ()

    return _question(LINE, level, text, (), answer=(line,), happened=happened, **more)


def _question(
    kind: str,
    level: str,
    text: str,
    options: Sequence[Option],
    *,
    hint: str,
    because: Sequence[str],
    mistakes: Sequence[str],
    code: str = "",
    file: str = "",
    answer: tuple[int, ...] | None = None,
    happened: Callable[[Facts], tuple[int, ...]] | None = None,
) -> Decorator:
    def holding(facts: Facts) -> tuple[int, ...]:
        return tuple(index for index, option in enumerate(options) if option.holds(facts))

    def make(proof: Callable[[], None]) -> Question:
        topic = proof.__module__.rpartition(".")[2]
        program = _body(proof)
        return Question(
            key=f"{topic}.{proof.__name__}",
            topic=topic,
            level=level,
            kind=kind,
            text=text,
            options=tuple(options),
            code=program if kind == PRINTS else textwrap.dedent(code).strip("\n"),
            file=file,
            answer=answer or tuple(i for i, option in enumerate(options) if option.right),
            hint=hint,
            because=tuple(because),
            mistakes=tuple(mistakes),
            proof=program,
            _happened=happened or holding,
        )

    return make


def _body(function: Callable[[], None]) -> str:
    """The statements of a function, as a program."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0].lineno  # of the `def`, below the decorator
    return textwrap.dedent("".join(source.splitlines(keepends=True)[definition:]))


@cache
def all_questions() -> tuple[Question, ...]:
    """The whole bank: by topic, within a topic as they stand in its module."""
    modules = [importlib.import_module(f"twogate.lab.questions.{topic}") for topic in TOPICS]
    return tuple(
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Question)
    )


def find_question(key: str) -> Question | None:
    """The question with this key, or ``None``."""
    return next((question for question in all_questions() if question.key == key), None)
