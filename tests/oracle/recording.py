"""A Django test runner that notes the outcome of each test and lets no test hang for ever.

Imported by Django, by name, in the process that runs the suite, after the substitution.
"""

from __future__ import annotations

import faulthandler
import os
import time
import traceback
import unittest
from typing import Any

from django.test.runner import DiscoverRunner

from tests.oracle.outcomes import Outcome

__all__ = ["OUTCOMES", "Runner"]

#: Seconds from the start of one test to the start of the next, or to the end of the process.
TEST_LIMIT = float(os.environ["ORACLE_TEST_LIMIT"])

#: By the test's id. A test that reports several times keeps its worst outcome.
OUTCOMES: dict[str, Outcome] = {}


class RecordingResult(unittest.TextTestResult):
    """Django's output, and a record of every outcome."""

    def startTest(self, test: unittest.TestCase) -> None:
        # Not cancelled when a test ends: what follows, up to the end of the process, may hang, too.
        # By its number: tests put other objects in the place of sys.stderr.
        faulthandler.dump_traceback_later(TEST_LIMIT, exit=True, file=2)
        self._begun = time.monotonic()
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        if outcome := OUTCOMES.get(test.id()):
            outcome.seconds = time.monotonic() - self._begun

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._note(test, "passed")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._note(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._note(test, "failed", "passed, where Django expects a failure")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, "failed", self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._note(test, "failed", self.errors[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            text = "".join(traceback.format_exception(*err))
            self._note(test, "failed", f"{subtest}\n{text}")

    def _note(self, test: unittest.TestCase, verdict: str, text: str = "") -> None:
        outcome = OUTCOMES.get(test.id())
        if outcome is None or outcome.verdict != "failed":
            OUTCOMES[test.id()] = Outcome(verdict, text)


class Runner(DiscoverRunner):  # type: ignore[misc]
    """Django's default runner, recording."""

    def get_resultclass(self) -> type[unittest.TextTestResult]:
        return RecordingResult
