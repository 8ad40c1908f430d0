"""What became of each test, and what two runs beside each other say.

Knows neither Django nor processes.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Comparison", "Outcome", "compare", "read_exceptions", "read_outcomes", "write_outcomes"]

EXCEPTIONS = Path(__file__).with_name("exceptions.toml")


@dataclass(slots=True)
class Outcome:
    """One test's ``"passed"``, ``"skipped"`` or ``"failed"``; why; and how many seconds it took."""

    verdict: str
    text: str = ""
    seconds: float = 0.0


def write_outcomes(outcomes: dict[str, Outcome], file: Path) -> None:
    """Write outcomes by test id, for :func:`read_outcomes`."""
    file.write_text(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}))


def read_outcomes(file: Path) -> dict[str, Outcome]:
    """Read what :func:`write_outcomes` wrote."""
    return {name: Outcome(**fields) for name, fields in json.loads(file.read_text()).items()}


def read_exceptions(file: Path = EXCEPTIONS) -> dict[str, str]:
    """The tests that ours may fail, with the reason of each.

    Raises :class:`ValueError` for an entry without a reason.
    """
    exceptions = tomllib.loads(file.read_text(encoding="utf-8"))
    for test, reason in exceptions.items():
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"{file.name}: {test!r} needs its reason, in one string")
    return exceptions


@dataclass(slots=True)
class Comparison:
    """Ours beside the stock handlers.

    ``regressions`` has, by test id, how ours did where the stock handlers did better; ``excepted``
    the same for known exceptions. ``stale`` are exceptions that ours has no need of any more.
    """

    regressions: dict[str, str]
    excepted: dict[str, str]
    stale: list[str]

    @property
    def holds(self) -> bool:
        """Whether ours passes all that the stock handlers pass, but for the known exceptions."""
        return not self.regressions and not self.stale


def compare(
    stock: dict[str, Outcome], ours: dict[str, Outcome], exceptions: dict[str, str]
) -> Comparison:
    """What ours does worse than the stock handlers, and which exceptions are out of date.

    A test that passes with the stock handlers must pass with ours: to be skipped or not to run at
    all is worse. A failure that only ours has is worse, too, as that of a ``setUpClass`` which has
    no entry of its own when it succeeds.
    """
    worse = {
        name: _describe(ours.get(name))
        for name in sorted(stock.keys() | ours.keys())
        if _is_worse(stock.get(name), ours.get(name))
    }
    return Comparison(
        regressions={name: text for name, text in worse.items() if name not in exceptions},
        excepted={name: text for name, text in worse.items() if name in exceptions},
        stale=[name for name in exceptions if name in ours and name not in worse],
    )


def _is_worse(stock: Outcome | None, ours: Outcome | None) -> bool:
    if _is(ours, "failed"):
        return not _is(stock, "failed")
    return _is(stock, "passed") and not _is(ours, "passed")


def _is(outcome: Outcome | None, verdict: str) -> bool:
    return outcome is not None and outcome.verdict == verdict


def _describe(outcome: Outcome | None) -> str:
    return "did not run" if outcome is None else f"{outcome.verdict}: {outcome.text.rstrip()}"
