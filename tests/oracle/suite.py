"""One run of Django's test suite in a process of its own, with one set of handlers.

``run`` starts the process; the rest of this module is what that process does: put the handlers in
place, and only then let Django's ``runtests.py`` import the rest of Django.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.oracle.outcomes import Outcome, read_outcomes, write_outcomes
from tests.oracle.substitution import Substitution

__all__ = ["STOCK", "SuiteError", "run"]

#: In the place of a module's name: leave Django's handlers where they are.
STOCK = "stock"

ROOT = Path(__file__).parents[2]

#: What unittest calls a test that stands for a module it cannot import.
UNLOADED = "unittest.loader._FailedTest."

#: Seconds that a single test may take before the process prints all stacks and ends.
TEST_LIMIT = 120.0

#: Lines of the process's output that an error quotes.
QUOTED = 60


class SuiteError(Exception):
    """The suite ended before its time."""


def run(
    tests: Path, handlers: str, labels: Sequence[str], results: Path, limit: float = TEST_LIMIT
) -> dict[str, Outcome]:
    """Run Django's tests of these labels and return the outcomes by test id.

    ``tests`` is the folder of ``runtests.py``, ``handlers`` a module's name or ``STOCK``. The file
    ``results`` is written, and the process's output to one beside it that ends in ``.log``.
    Raises :class:`SuiteError` if the process ends without results, as it does when one test takes
    more than ``limit`` seconds, or if a label names nothing that can be loaded.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "TWOGATE_"))}
    theirs = environment.get("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), str(ROOT), *filter(None, theirs)]
    )
    environment["ORACLE_TEST_LIMIT"] = str(limit)
    log = results.with_suffix(".log")
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "tests.oracle.suite", handlers, str(results), *labels],
            cwd=tests, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if done.returncode or not results.is_file():
        lines = log.read_text(errors="replace").splitlines()[-QUOTED:]
        raise SuiteError(f"The run with {handlers} ended early:\n" + "\n".join(lines))
    return _usable(read_outcomes(results))


def _usable(outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    unloaded = [o.text for name, o in outcomes.items() if name.startswith(UNLOADED)]
    if unloaded:
        raise SuiteError("Not all of the tests can be loaded:\n" + "\n".join(unloaded))
    if not outcomes:
        raise SuiteError("There are no tests of these labels.")
    return outcomes


def _run_here(handlers: str, results: Path, labels: Sequence[str]) -> None:
    from django.conf import global_settings

    substitution = None if handlers == STOCK else Substitution(handlers)
    global_settings.TEST_RUNNER = "tests.oracle.recording.Runner"
    # In one process: what was put in place here is in place nowhere else.
    sys.argv = ["runtests.py", "--verbosity=2", "--noinput", "--parallel=1", *labels]
    with contextlib.suppress(SystemExit):
        runpy.run_path("runtests.py", run_name="__main__")
    if substitution is not None:
        substitution.check()
    # Not before: it imports django.test.
    from tests.oracle.recording import OUTCOMES

    write_outcomes(OUTCOMES, results)


if __name__ == "__main__":
    _run_here(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
