"""Runs a proof: a program of this package, under limits that are wide.

The guard does the work; here stands only how much a proof may use. :func:`run` blocks: call it from
a worker thread.
"""

from __future__ import annotations

from collections.abc import Mapping

from twogate.lab import guard
from twogate.lab.guard import MEBIBYTE, Run

__all__ = ["Run", "run"]


def run(
    program: str,
    files: Mapping[str, str] | None = None,
    *,
    timeout: float = 10.0,
) -> Run:
    """Run a proof in an empty folder that is gone afterwards.

    :param program: its text.
    :param files: names and texts of other files in its folder; it can import them.
    :param timeout: seconds until it is stopped, with all that it has started.
    """
    limits = guard.Limits(
        seconds=timeout, cpu=timeout, memory=8192 * MEBIBYTE, processes=64, open_files=1024
    )
    return guard.run(program, files, limits=limits)
