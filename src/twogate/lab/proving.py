"""Runs the proof of a question and says what its output makes true: two at a time, others wait.

Coroutines of the lab's server call it; the programs run in processes of their own, each watched by
one of two threads. Nothing is kept: every run is a new one.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from twogate.lab.bank import MissingFact, Question
from twogate.lab.runner import Run, run

__all__ = ["AT_ONCE", "Proven", "prove"]

#: Proofs that run at the same time: each is a process that imports Django and may start a server.
AT_ONCE = 2

_runners = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="proof")


@dataclass(frozen=True, slots=True)
class Proven:
    """What a run of a proof has shown.

    :ivar run: how the program fared.
    :ivar true: what its output makes true, in the form of :attr:`Question.answer`; ``None`` when it
        did not come to its end, or did not print what the options are about.
    """

    run: Run
    true: tuple[int, ...] | None


async def prove(question: Question) -> Proven:
    """Run a proof now, as soon as it is its turn. Whoever goes away while waiting gives it up."""
    loop = asyncio.get_running_loop()
    done = await loop.run_in_executor(_runners, run, question.proof, question.files)
    return Proven(done, _true(question, done))


def _true(question: Question, done: Run) -> tuple[int, ...] | None:
    if not done.fine:
        return None
    try:
        return question.happened(done.output)
    except (MissingFact, ValueError):
        return None
