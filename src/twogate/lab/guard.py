"""Runs a program in a process of its own, with limits on all that a mistake can use up.

Endless loops, fork bombs, endless prints, huge lists and huge files end in a sentence that names
the limit and the line, and leave no process and no folder. It guards against accidents and is no
wall against attackers. Knows no questions and no Django. :func:`run` blocks: call it from a worker
thread. The limits are kept by :mod:`twogate.lab.guardian`, in the process between.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import twogate

__all__ = ["ENDS", "Fault", "Limits", "Place", "Run", "run"]

#: How a run can end: by itself, or by the limit of that name, or without a word (``lost``).
ENDS = (
    "finished", "seconds", "cpu", "memory", "processes", "folder_size", "output", "lost",
)  # fmt: skip

_GUARDIAN = Path(__file__).with_name("guardian.py")
#: The name of the program in its folder.
PROGRAM = "program.py"
_CHUNK = 65536
#: Seconds that a guardian gets to end everything, beyond the time of its program.
_GRACE = 15.0
#: What a program gets of our environment: what Python needs to start, and no secret.
_PASSED = ("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")
#: As many programs run at once; the others wait for their turn. Their time has not begun.
_TURNS = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. Django, Channels and a Twogate of 8 threads fit in the defaults.

    :ivar seconds: from its start to its end.
    :ivar cpu: seconds of computing, all its processes together.
    :ivar memory: bytes: addresses of each process, and memory in use by all together.
    :ivar processes: at one time, itself included.
    :ivar output: bytes that it may print, standard output and error each.
    :ivar file_size: bytes of one file.
    :ivar folder_size: bytes of all files in its folder.
    :ivar files: how many these may be.
    :ivar open_files: at one time, sockets and pipes included, in one process.
    """

    seconds: float = 10.0
    cpu: float = 5.0
    memory: int = 512 * MEBIBYTE
    processes: int = 16
    output: int = 65536
    file_size: int = 16 * MEBIBYTE
    folder_size: int = 64 * MEBIBYTE
    files: int = 1000
    open_files: int = 256


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file in the program's folder: its number from 1, and its text, stripped."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        shown = f": {self.text}" if self.text else ""
        return f"line {self.line} of {self.file}{shown}"


@dataclass(frozen=True, slots=True)
class Fault:
    """The exception that ended a program.

    :ivar kind: its class, as ``NameError``.
    :ivar message: what it says.
    :ivar errno: the number of an ``OSError``.
    """

    kind: str
    message: str
    errno: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """How a program fared.

    :ivar end: one of :data:`ENDS`.
    :ivar status: its exit status; negative is the signal that ended it.
    :ivar output: what it printed, at most as much as was allowed.
    :ivar errors: the same of its standard error.
    :ivar seconds: how long it took.
    :ivar limits: those it ran under.
    :ivar fault: the exception that ended it.
    :ivar place: the line that was its last, if one of its own files is known to have had it.
    :ivar kept: the texts of the files that were asked for, those that were there.
    """

    end: str
    status: int
    output: str
    errors: str
    seconds: float
    limits: Limits = field(default_factory=Limits)
    fault: Fault | None = None
    place: Place | None = None
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        """Whether it came to its own, good end."""
        return self.end == "finished" and self.status == 0

    @property
    def told(self) -> str:
        """A sentence about its end: which limit, and which line. Empty for a good end."""
        if self.fine:
            return ""
        sentence = _reason(self)
        return f"{sentence} It was in {self.place}" if self.place else sentence


def run(
    program: str,
    files: Mapping[str, str] | None = None,
    *,
    limits: Limits | None = None,
    keep: Collection[str] = (),
    own: Collection[str] = (),
) -> Run:
    """Run a program with this Python, in a folder that is gone afterwards.

    :param program: its text; the file ``program.py``.
    :param files: paths and texts of other files in its folder; it can import them.
    :param keep: paths of files that are read when it has ended.
    :param own: the files in which the last line is looked for; by default all in the folder.
    """
    with _TURNS, tempfile.TemporaryDirectory(prefix="twogate-lab-") as name:
        folder = Path(name).resolve()
        for path, text in {**(files or {}), PROGRAM: program}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return _Running(folder, limits or Limits(), keep).finish(own)


class _Running:
    """A guardian at work, and the pipes to it and to its program."""

    def __init__(self, folder: Path, limits: Limits, keep: Collection[str]) -> None:
        self._folder, self._limits, self._begun = folder, limits, time.monotonic()
        output, output_end = os.pipe()
        errors, errors_end = os.pipe()
        job = {
            **asdict(limits),
            "folder": str(folder),
            "program": PROGRAM,
            "keep": list(keep),
        } | {"output": output_end, "errors": errors_end}  # the limit on output is kept here
        self._pipes = [os.fdopen(output, "rb", 0), os.fdopen(errors, "rb", 0)]
        try:
            self._guardian = subprocess.Popen(  # noqa: S603 - this Python and a file of ours
                [sys.executable, "-P", "-B", "-X", "utf8", str(_GUARDIAN), json.dumps(job)],
                env=_environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(output_end, errors_end),
                start_new_session=True,
            )
        finally:
            os.close(output_end)
            os.close(errors_end)

    def finish(self, own: Collection[str]) -> Run:
        """Read what the program prints and its guardian tells, to the end."""
        guardian = self._guardian
        assert guardian.stdin is not None and guardian.stdout is not None
        deadline = self._begun + self._limits.seconds + _GRACE
        texts = [bytearray() for _ in self._pipes]
        report = bytearray()
        try:
            if _read(self._pipes, texts, deadline, self._limits.output) == "output":
                with contextlib.suppress(BrokenPipeError):
                    os.write(guardian.stdin.fileno(), b"output")
            _read([guardian.stdout], [report], deadline, sys.maxsize)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guardian.pid, signal.SIGKILL)
            guardian.wait()
            for pipe in (*self._pipes, guardian.stdin, guardian.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
        return self._told(texts, bytes(report), own)

    def _told(self, texts: list[bytearray], report: bytes, own: Collection[str]) -> Run:
        said: dict[str, Any] = (
            json.loads(report) if report else {"end": "lost", "status": -1, "notes": ""}
        )
        end = said["end"]
        too_much = any(len(text) > self._limits.output for text in texts)
        output, errors = (_text(text[: self._limits.output], self._folder) for text in texts)
        fault, place = _last_line(said["notes"], self._folder, own)
        return Run(
            "output" if too_much else end,
            said["status"],
            output,
            errors,
            time.monotonic() - self._begun,
            self._limits,
            fault if end == "finished" and not too_much else None,
            place,
            {name: _text(text, self._folder) for name, text in said.get("kept", {}).items()},
        )


def _environment(folder: Path) -> dict[str, str]:
    """A home that is gone afterwards, this very Twogate to import, and little else."""
    paths = [str(Path(twogate.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        # Else each thread sets addresses aside that it never uses, and all count as memory.
        "MALLOC_ARENA_MAX": "2",
    }


def _read(pipes: list[Any], texts: list[bytearray], deadline: float, most: int) -> str:
    """Read all pipes to their ends, or until it is too late or too much."""
    with selectors.DefaultSelector() as selector:
        for pipe, text in zip(pipes, texts, strict=True):
            selector.register(pipe, selectors.EVENT_READ, text)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return "seconds"
            for key, _ in selector.select(left):
                if not (chunk := os.read(key.fd, _CHUNK)):
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
                if len(key.data) > most:
                    return "output"
    return "finished"


def _text(data: bytes | bytearray | str, folder: Path) -> str:
    """What was printed, without the name of a folder that is gone."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    return text.replace(f"{folder}{os.sep}", "")


# Where it was.


_FRAME = re.compile(r'^  File "(.+)", line (\d+)', re.MULTILINE)


def _last_line(notes: str, folder: Path, own: Collection[str]) -> tuple[Fault | None, Place | None]:
    """What the guardian's notes say: an exception, or the stacks of all threads."""
    for line in notes.splitlines():
        if line.startswith("{"):
            note = json.loads(line)
            places = [(str(file), int(number)) for file, number in reversed(note["places"])]
            fault = Fault(
                note["kind"], note["message"].replace(f"{folder}{os.sep}", ""), note["errno"]
            )
            return fault, _place(places, folder, own)
    # The main thread is the last one, and of each the innermost frame comes first.
    for stack in reversed(notes.split("\n\n")):
        places = [(file, int(number)) for file, number in _FRAME.findall(stack)]
        if place := _place(places, folder, own):
            return None, place
    return None, None


def _place(places: list[tuple[str, int]], folder: Path, own: Collection[str]) -> Place | None:
    for file, number in places:
        path = Path(file)
        if not path.is_relative_to(folder) or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        if not own or name in own:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
            return Place(name, number, text[:200])
    return None


# Sentences.


def _reason(done: Run) -> str:
    limits = done.limits
    sentences = {
        "seconds": f"It was stopped because it was not done after {_seconds(limits.seconds)}.",
        "cpu": f"It was stopped after {_seconds(limits.cpu)} of computing: a loop without end?",
        "memory": f"It was stopped because it used more than {_size(limits.memory)} of memory.",
        "processes": "It was stopped because it had more than"
        f" {limits.processes} processes at one time.",
        "folder_size": "It was stopped because it wrote too many files: more than"
        f" {_size(limits.folder_size)} or {limits.files} files.",
        "output": f"It was stopped because it printed more than {_size(limits.output)}.",
        "lost": "It ended the process that watches over it, so nothing more is known of it.",
    }
    if done.end in sentences:
        return sentences[done.end]
    if done.fault is not None:
        return _exception(done.fault, limits)
    if done.status < 0:
        return f"It was ended by the signal {_signal_name(-done.status)}."
    if done.status == 120:
        return "It closed its output before it had printed everything."
    return f"It ended itself with the exit status {done.status}."


def _exception(fault: Fault, limits: Limits) -> str:
    if fault.kind == "MemoryError":
        return f"It asked for more memory than the {_size(limits.memory)} that it may use."
    if fault.errno == errno.EFBIG:
        return f"It wrote a file of more than {_size(limits.file_size)}."
    if fault.errno == errno.EMFILE:
        return f"It had more than {limits.open_files} files and connections open at one time."
    if fault.kind == "SystemExit":
        return f"It ended itself with sys.exit({fault.message})."
    said = f"{fault.kind}: {fault.message}" if fault.message else fault.kind
    return said if said.endswith((".", "?", "!")) else f"{said}."


def _seconds(number: float) -> str:
    return f"{number:g} second{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    if size >= MEBIBYTE:
        return f"{size // MEBIBYTE} MB"
    return f"{size // 1024} kB" if size >= 1024 else f"{size} bytes"


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:
        return str(number)
