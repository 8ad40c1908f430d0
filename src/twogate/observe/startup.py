"""The start-up message: what is served, where, by how many, and what looks wrong.

Plain aligned lines on standard error, coloured on a terminal unless ``NO_COLOR`` is set. It knows
the configuration and the notes that loading left; it is told once, by whoever first can serve.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

import twogate
from twogate.config import Config

__all__ = ["Style", "announce", "describe", "warn"]

_WARNING = "warning: "
_WIDTH = 10


class Style:
    """Words in colour, for a terminal that shows it.

    :param stream: where they are written.
    """

    def __init__(self, stream: TextIO) -> None:
        # https://no-color.org: any value but the empty one switches colour off.
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self._on = not plain and stream.isatty()

    def red(self, text: str) -> str:
        """For errors."""
        return self._in("31;1", text)

    def yellow(self, text: str) -> str:
        """For warnings."""
        return self._in("33;1", text)

    def green(self, text: str) -> str:
        """For what is new."""
        return self._in("32", text)

    def bold(self, text: str) -> str:
        """For labels."""
        return self._in("1", text)

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on else text


def announce(
    config: Config,
    workers: int,
    urls: Sequence[str],
    notes: Sequence[str],
    stream: TextIO | None = None,
) -> None:
    """Write the start-up message in one piece, as far as ``--log-level`` lets it.

    :param workers: how many; 0 for one process without a supervisor.
    :param urls: the addresses that are really served.
    :param notes: ``Applications.notes`` of a worker that is ready.
    :param stream: standard error by default.
    """
    stream = stream or sys.stderr
    style = Style(stream)
    lines = list(warn(notes, config.warnings, style))
    if config.log_level in ("info", "debug"):
        title = style.bold(f"Twogate {twogate.__version__}")
        lines = [title, *_served(config, workers, urls), *describe(notes), *lines]
    if lines and config.log_level not in ("error", "critical"):
        stream.write("\n".join(lines) + "\n")
        stream.flush()


def describe(notes: Iterable[str]) -> Iterator[str]:
    """An aligned line for each note that is no warning."""
    for note in notes:
        if not note.startswith(_WARNING):
            label, _, text = note.partition(": ")
            yield _line(label, text)


def warn(notes: Iterable[str], warnings: Iterable[str], style: Style) -> Iterator[str]:
    """An aligned line for each warning of the configuration, and then of the notes."""
    noted = (note.removeprefix(_WARNING) for note in notes if note.startswith(_WARNING))
    for warning in (*warnings, *noted):
        yield f"  {style.yellow('warning')}{' ' * (_WIDTH - 7)}{warning}"


def _served(config: Config, workers: int, urls: Sequence[str]) -> Iterator[str]:
    for index, url in enumerate(urls):
        yield _line("" if index else "serves", url)
    named = {0: "one process without a supervisor", 1: "1 process"}
    yield _line("workers", named.get(workers, f"{workers} processes"))
    yield _line("threads", f"up to {config.threads} per worker, as many awake as pay off")
    if config.reload:
        yield _line("reload", "when code changes")


def _line(label: str, text: str) -> str:
    return f"  {label:<{_WIDTH}}{text}"
