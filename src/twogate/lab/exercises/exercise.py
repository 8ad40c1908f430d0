"""What an exercise is, what a check of somebody's code says, and the project that grows from them.

:func:`check` runs the code in a process of its own, under the guard's limits, and blocks meanwhile:
call it from a worker thread. Django is loaded there and not here.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twogate.lab import guard

__all__ = ["LIMITS", "MOST_CODE", "Exercise", "Talk", "Verdict", "archive", "check", "given"]

#: Time is for a busy machine; computing is what an endless loop does.
LIMITS = guard.Limits(seconds=20.0, cpu=5.0)
#: Characters of a learner's code.
MOST_CODE = 20_000

_FILES = Path(__file__).parent / "files"
#: Ends the names of files that belong to the learner's project and not to this package.
_TEMPLATE = "-tpl"
_FOUND = "found.json"
_PROGRAM = "from twogate.lab.exercises.checks import main\n\nmain({key!r}, {file!r}, {found!r})\n"


@dataclass(frozen=True, slots=True)
class Exercise:
    """One thing to write. Texts are paragraphs; in them, code stands between backticks.

    :ivar key: under which progress is kept, and the name of its check.
    :ivar title: a few words.
    :ivar file: the file of the project that is written.
    :ivar text: what to do, and why.
    :ivar start: the code to begin with; of an exercise that goes on, its own part alone.
    :ivar solution: code that passes; likewise.
    :ivar hints: from a nudge to almost the answer.
    :ivar mistakes: what often goes wrong.
    :ivar before: the exercise whose code this one goes on from.
    """

    key: str
    title: str
    file: str
    text: Sequence[str]
    start: str
    solution: str
    hints: Sequence[str]
    mistakes: Sequence[str]
    before: Exercise | None = None

    @property
    def whole_solution(self) -> str:
        """Code that passes, with that of the exercises before."""
        return self._after(self.before.whole_solution if self.before else None, self.solution)

    def whole_start(self, before: str | None = None) -> str:
        """The code to begin with.

        :param before: the learner's own code of the exercise before, if it is done.
        """
        if self.before is not None and before is None:
            before = self.before.whole_solution
        return self._after(before, self.start)

    def _after(self, before: str | None, mine: str) -> str:
        return f"{before.rstrip()}\n\n{mine}" if before and self.before else mine


@dataclass(frozen=True, slots=True)
class Talk:
    """One thing that was asked of the code, and what came back.

    :ivar through: ``WSGI``, ``ASGI`` or what else carried it.
    """

    asked: str
    through: str
    answered: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says.

    :ivar passed: whether the code does what the exercise asks for.
    :ivar sentence: what was found and what was expected.
    :ivar mend: what to do about it, if that is known.
    :ivar line: the line in the learner's file, from 1, if it is known.
    :ivar talk: what was asked and answered.
    :ivar printed: what the code printed.
    """

    passed: bool
    sentence: str
    mend: str = ""
    line: int | None = None
    talk: Sequence[Talk] = ()
    printed: str = ""


def given() -> dict[str, str]:
    """The project's files by path, each as it is when its exercise is solved."""
    files = sorted(path for path in _FILES.rglob(f"*{_TEMPLATE}"))
    return {
        path.relative_to(_FILES).as_posix().removesuffix(_TEMPLATE): path.read_text("utf-8")
        for path in files
    }


def check(exercise: Exercise, code: str, others: Mapping[str, str] | None = None) -> Verdict:
    """Run somebody's code for an exercise.

    :param others: the learner's other files by path, in the place of the given ones.
    """
    if len(code) > MOST_CODE:
        return Verdict(False, f"This is more than {MOST_CODE} characters, more than one needs.")
    files = {**given(), **(others or {}), exercise.file: code}
    program = _PROGRAM.format(key=exercise.key, file=exercise.file, found=_FOUND)
    done = guard.run(program, files, limits=LIMITS, keep=[_FOUND], own=[exercise.file])
    printed = (done.output + done.errors).strip()
    try:
        found: dict[str, Any] = json.loads(done.kept.get(_FOUND, ""))
    except ValueError:
        found = {}
    if done.end != "finished" or not found:
        line = done.place.line if done.place else None
        told = done.told or "Your code ended the program before the check was done."
        return Verdict(False, told, line=line, printed=printed)
    talk = tuple(Talk(**row) for row in found.pop("talk"))
    return Verdict(**found, talk=talk, printed=printed)


def archive(files: Mapping[str, str], folder: str = "myproject") -> bytes:
    """A zip file of a project.

    :param folder: the folder in it that holds everything.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path, text in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{folder}/{path}", (2026, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if path == "manage.py" else 0o644) << 16
            zipped.writestr(entry, text)
    return buffer.getvalue()
