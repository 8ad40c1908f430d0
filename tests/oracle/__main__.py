"""Run Django's own tests with the stock handlers and with ours, and say where ours does worse.

    python -m tests.oracle              # the quick ones
    python -m tests.oracle --full       # all that a handler can break
    python -m tests.oracle asgi cache   # some
    python -m tests.oracle --stock      # stock beside stock: is the suite itself steady here?

Ends with 0 if ours passes whatever the stock handlers pass, but for ``exceptions.toml``; with 1 if
not, or if an exception there is not needed any more; with 2 if the tests could not be run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django

from tests.oracle.labels import FULL, QUICK
from tests.oracle.outcomes import Comparison, Outcome, compare, read_exceptions
from tests.oracle.source import SourceError, package, unpack_tests
from tests.oracle.suite import STOCK, SuiteError, run

HANDLERS = "twogate.django.handler"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say, by default those of the process, and return the exit status."""
    options = _options(arguments)
    begun = time.monotonic()
    try:
        stock, ours = _run_both(options.handlers, options.labels or options.chosen)
    except (SourceError, SuiteError) as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 2
    comparison = compare(stock, ours, read_exceptions())
    _report({"stock handlers": stock, options.handlers: ours}, comparison)
    print(f"{time.monotonic() - begun:.0f} s: {'passed' if comparison.holds else 'FAILED'}")
    return 0 if comparison.holds else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("oracle", description="Run Django's own tests with ours.")
    parser.add_argument("labels", nargs="*", metavar="LABEL", help="as Django's runtests.py has it")
    parser.add_argument("--full", action="store_const", const=FULL, default=QUICK, dest="chosen")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--handlers", default=HANDLERS, metavar="MODULE", help="default: %(default)s"
    )
    which.add_argument("--stock", action="store_const", const=STOCK, dest="handlers")
    return parser.parse_args(arguments)


def _run_both(handlers: str, labels: Sequence[str]) -> list[dict[str, Outcome]]:
    """The outcomes with the stock handlers and with ours, from two processes side by side."""
    archive = package()

    def run_one(handlers: str, folder: Path) -> dict[str, Outcome]:
        return run(unpack_tests(archive, folder), handlers, labels, folder / "outcomes.json")

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        folders = [Path(folder, "stock"), Path(folder, "ours")]
        return list(pool.map(run_one, [STOCK, handlers], folders))


def _report(runs: dict[str, dict[str, Outcome]], comparison: Comparison) -> None:
    for name, text in comparison.regressions.items():
        print(f"{'=' * 70}\n{name}\n{'-' * 70}\n{text}\n")
    print(f"Django {django.get_version()}, its own tests")
    for handlers, outcomes in runs.items():
        counts = Counter(outcome.verdict for outcome in outcomes.values())
        print(f"  {handlers}: {', '.join(f'{counts[v]} {v}' for v in sorted(counts))}")
    for name in comparison.regressions:
        print(f"worse than with the stock handlers: {name}")
    for name in comparison.excepted:
        print(f"known exception: {name}")
    for name in comparison.stale:
        print(f"passes, and must go from exceptions.toml: {name}")


if __name__ == "__main__":
    sys.exit(main())
