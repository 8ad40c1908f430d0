"""What an audit finds: one value for all checks and all reports. Knows neither."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TypeAlias

__all__ = ["Finding", "Level", "Place", "Rule"]

#: A file, and a line in it that counts from 1.
Place: TypeAlias = tuple[Path, int]


class Level(IntEnum):
    """How bad it is. An error fails requests or the start; a warning will hurt someday."""

    INFO = 0
    WARNING = 1
    ERROR = 2


_LEVELS = {"E": Level.ERROR, "W": Level.WARNING, "I": Level.INFO}


@dataclass(slots=True, frozen=True)
class Rule:
    """One kind of finding.

    :ivar code: a letter for the level, and a number that no other rule has; it never changes.
    :ivar title: the kind, in a few words.
    :ivar why: why it matters, in one or two sentences.
    """

    code: str
    title: str
    why: str

    @property
    def id(self) -> str:
        """The name for ``--ignore`` and for Django, for example ``twogate.E001``."""
        return f"twogate.{self.code}"

    @property
    def level(self) -> Level:
        """As the code's letter says."""
        return _LEVELS[self.code[0]]

    def at(self, place: Place, message: str, mend: str) -> Finding:
        """A finding of this kind.

        :param message: what is wrong there, with the names of the code.
        :param mend: what to do about it.
        """
        return Finding(self, place[0], max(place[1], 1), message, mend)


@dataclass(slots=True, frozen=True)
class Finding:
    """Something in a project that should be mended, and where.

    :ivar file: an absolute path.
    """

    rule: Rule
    file: Path
    line: int
    message: str
    mend: str

    @property
    def order(self) -> tuple[int, str, str, int]:
        """Sorts the worst first, then by rule and place."""
        return -self.rule.level, self.rule.code, str(self.file), self.line
