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

__all__ = ["Style", "announce", "describe"]

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

    def bold(self, text: str) -> str:
        """For labels."""
        return self._in("1", text)

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on else text


def announce(
    config: Config, urls: Sequence[str], notes: Sequence[str], stream: TextIO | None = None
) -> None:
    """Write the start-up message in one piece.

    :param urls: the addresses that are really served.
    :param notes: ``Applications.notes`` of a worker that is ready.
    :param stream: standard error by default.
    """
    stream = stream or sys.stderr
    lines = [f"Twogate {twogate.__version__}", *_served(config, urls)]
    lines.extend(describe(notes, config.warnings, Style(stream)))
    stream.write("\n".join(lines) + "\n")
    stream.flush()


def describe(notes: Iterable[str], warnings: Iterable[str], style: Style) -> Iterator[str]:
    """A line for each note, facts first and warnings last."""
    notes = list(notes)
    for note in notes:
        if not note.startswith(_WARNING):
            label, _, text = note.partition(": ")
            yield _line(label, text)
    for warning in (
        *warnings,
        *(n.removeprefix(_WARNING) for n in notes if n.startswith(_WARNING)),
    ):
        yield f"  {style.yellow('warning')}{' ' * (_WIDTH - 7)}{warning}"


def _served(config: Config, urls: Sequence[str]) -> Iterator[str]:
    for index, url in enumerate(urls):
        yield _line("URL" if index == 0 else "", url)
    workers = {0: "one process, no supervisor", 1: "1 process"}
    yield _line("workers", workers.get(config.workers, f"{config.workers} processes"))
    yield _line("threads", f"up to {config.threads} in each, as many awake as pay off")
    if config.reload:
        yield _line("reload", "when code changes")


def _line(label: str, text: str) -> str:
    return f"  {label:<{_WIDTH}}{text}"
