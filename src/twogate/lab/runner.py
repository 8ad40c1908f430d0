"""Runs a small program in a process of its own, with a limit on its time and on its output.

Knows no questions and no Django. :func:`run` blocks; call it from a worker thread. It limits
accidents (endless loops, endless prints) and is no sandbox: what it runs comes from this package.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import twogate

__all__ = ["FINISHED", "TOO_LONG", "TOO_MUCH", "Run", "run"]

FINISHED, TOO_LONG, TOO_MUCH = "finished", "took too long", "printed too much"

#: The name of the program in its folder.
PROGRAM = "program.py"
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Run:
    """How a program fared.

    :ivar end: :data:`FINISHED`, or why it was stopped: :data:`TOO_LONG`, :data:`TOO_MUCH`.
    :ivar status: its exit status; negative is the signal that ended it.
    :ivar output: what it printed, at most as much as was allowed.
    :ivar errors: the same of its standard error.
    :ivar seconds: how long it took.
    """

    end: str
    status: int
    output: str
    errors: str
    seconds: float

    @property
    def fine(self) -> bool:
        """Whether it came to its own, good end."""
        return self.end == FINISHED and self.status == 0


def run(
    program: str,
    files: Mapping[str, str] | None = None,
    *,
    timeout: float = 10.0,
    most_output: int = 65536,
) -> Run:
    """Run a program with this Python, in an empty folder that is gone afterwards.

    :param program: its text.
    :param files: names and texts of other files in its folder; it can import them.
    :param timeout: seconds until it is stopped, with all that it has started.
    :param most_output: bytes that it may print, standard output and error each.
    """
    with tempfile.TemporaryDirectory(prefix="twogate-lab-") as folder:
        for name, text in {**(files or {}), PROGRAM: program}.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        return _run(folder, timeout, most_output)


def _run(folder: str, timeout: float, most_output: int) -> Run:
    begun = time.monotonic()
    child = subprocess.Popen(  # noqa: S603 - this Python and a file of ours
        [sys.executable, "-B", "-X", "utf8", PROGRAM],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None and child.stderr is not None
    try:
        end, texts = _read([child.stdout, child.stderr], begun + timeout, most_output)
        end = _wait(child, begun + timeout) if end == FINISHED else end
    finally:
        # Not only the program: also what it started and left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        child.stderr.close()
    output, errors = (_text(text, folder) for text in texts)
    return Run(end, child.returncode, output, errors, time.monotonic() - begun)


def _environment(folder: str) -> dict[str, str]:
    """Ours, without what would steer Python, Django or Twogate, and with a home that is gone
    afterwards; this very Twogate can be imported."""
    steering = ("PYTHON", "DJANGO", "TWOGATE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
    paths = [str(Path(twogate.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HOME": folder}


def _read(pipes: list[IO[bytes]], deadline: float, most: int) -> tuple[str, list[bytearray]]:
    """Read all pipes to their ends, or until it is too late or too much."""
    texts = [bytearray() for _ in pipes]
    with selectors.DefaultSelector() as selector:
        for pipe, text in zip(pipes, texts, strict=True):
            selector.register(pipe, selectors.EVENT_READ, text)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return TOO_LONG, texts
            for key, _ in selector.select(left):
                if not (chunk := os.read(key.fd, _CHUNK)):
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
                if len(key.data) > most:
                    del key.data[most:]
                    return TOO_MUCH, texts
    return FINISHED, texts


def _wait(child: subprocess.Popen[bytes], deadline: float) -> str:
    """A program may close its output and go on."""
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return TOO_LONG
    return FINISHED


def _text(data: bytes | bytearray, folder: str) -> str:
    """What was printed, without the name of a folder that is gone."""
    return data.decode("utf-8", "replace").replace(folder + os.sep, "")
