"""Proofs that are run at the press of a button."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from twogate.lab.bank import Question, find_question
from twogate.lab.proving import AT_ONCE, prove


def question(key: str) -> Question:
    found = find_question(key)
    assert found is not None
    return found


def test_a_proof_says_what_is_true() -> None:
    asked = question("wsgi.generator_application")
    proven = asyncio.run(prove(asked))
    assert proven.run.fine
    assert proven.true == asked.answer


def test_a_program_that_shows_nothing_says_so() -> None:
    asked = question("wsgi.how_wsgi_is_called")
    assert asyncio.run(prove(replace(asked, proof="1 / 0"))).true is None
    assert asyncio.run(prove(replace(asked, proof="print('hello')"))).true is None


def test_only_so_many_run_at_once() -> None:
    """Each program lays down a file while it runs, and prints how many lie there."""
    program = (
        "import os, pathlib, tempfile, time\n"
        "folder = pathlib.Path(__file__).resolve().parent.parent\n"
        "mine = folder / f'twogate-proof-{os.getppid()}-{os.getpid()}'\n"
        "mine.touch()\n"
        "time.sleep(0.3)\n"
        "print('together:', len(list(folder.glob(f'twogate-proof-{os.getppid()}-*'))))\n"
        "mine.unlink()\n"
    )
    asked = replace(question("wsgi.how_wsgi_is_called"), proof=program)

    async def many() -> list[str]:
        return [done.run.output for done in await asyncio.gather(*(prove(asked) for _ in range(5)))]

    outputs = asyncio.run(many())
    assert set(outputs) <= {f"together: {n}\n" for n in range(1, AT_ONCE + 1)}
