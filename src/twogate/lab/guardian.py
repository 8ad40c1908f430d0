"""The process between the lab and a program: starts it under its limits, watches it, ends it.

Run as a file of its own by :mod:`twogate.lab.guard`, with the standard library alone, so that it
starts at once; single-threaded. Whatever the program starts stays among its descendants, because
orphans become this process's children. When the lab is gone, so is the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Iterator
from typing import Any

__all__: list[str] = []

#: Seconds between two looks at the program's processes and files.
_PAUSE = 0.1
#: Seconds that a program gets to say in which line it is.
_LAST_WORDS = 1.0
#: Bytes of memory, and open files, that are set free when all is used, so that it can be said.
_RESERVE = 64 * 1024 * 1024
_RESERVE_FILES = 16
#: Bytes of a kept file that are read.
_MOST_KEPT = 1024 * 1024

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """Do the job that stands on the command line, and write what came of it to fd 1."""
    job = json.loads(sys.argv[1])
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    with tempfile.TemporaryFile() as file:
        notes = os.dup(file.fileno())  # a program's threads may outlive its main part
    if (program := os.fork()) == 0:
        _become(job, notes, wake, waker)
        return
    os.close(job["output"])
    os.close(job["errors"])
    watch = _Watch(job, program, notes, wake)
    try:
        watch.run()
    finally:
        _end_all(program)
    watch.report()


# The program's process.


def _become(job: dict[str, Any], notes: int, *pipes: int) -> None:
    """Become the program: its folder, its limits, its output; then run it.

    :param pipes: the guardian's, which are closed.
    """
    guardian = os.getppid()
    os.setsid()  # so that it cannot end its guardian by ending its own group
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (job["output"], 1), (job["errors"], 2)):
        os.dup2(source, target)
    for number in {nothing, job["output"], job["errors"], *pipes}:
        os.close(number)
    os.chdir(job["folder"])
    os.nice(5)  # the lab and its pages come first
    # faulthandler speaks from the signal itself, even when Python's own handlers never run.
    faulthandler.register(signal.SIGXCPU, file=notes, all_threads=True, chain=False)
    _limit(job)
    _execute(os.path.join(job["folder"], job["program"]), job["folder"], notes)  # noqa: PTH118


def _limit(job: dict[str, Any]) -> None:
    for name, soft, hard in (
        ("RLIMIT_CPU", int(job["cpu"]) + 1, int(job["cpu"]) + 2),
        ("RLIMIT_AS", job["memory"], job["memory"] + _RESERVE),
        ("RLIMIT_FSIZE", job["file_size"], job["file_size"]),
        ("RLIMIT_NOFILE", job["open_files"], job["open_files"] + _RESERVE_FILES),
        ("RLIMIT_CORE", 0, 0),
    ):
        kind = getattr(resource, name)
        most = resource.getrlimit(kind)[1]
        wanted = [n if most == resource.RLIM_INFINITY else min(n, most) for n in (soft, hard)]
        with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of memory
            resource.setrlimit(kind, (wanted[0], wanted[1]))


def _execute(path: str, folder: str, notes: int) -> None:
    """Run a file as Python runs its main file."""
    module = types.ModuleType("__main__")
    module.__file__ = path
    sys.modules["__main__"] = module
    sys.argv = [path]
    sys.path.insert(0, folder)
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            code = compile(file.read(), path, "exec")
        exec(code, vars(module))  # noqa: S102 - that is what we are for
    except SystemExit as error:
        _note(notes, error, folder)
        raise
    except BaseException as error:
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE):
            hard = resource.getrlimit(kind)[1]
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (hard, hard))
        _note(notes, error, folder)
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next  # without this very function
        with contextlib.suppress(Exception):
            traceback.print_exception(error)
        sys.exit(1)


def _note(notes: int, error: BaseException, folder: str) -> None:
    """Write down which exception ended the program, and all places of its files on the way."""
    frames = traceback.walk_tb(error.__traceback__)
    places = [(frame.f_code.co_filename, line) for frame, line in frames]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno or 1))
    note = {
        "kind": type(error).__name__,
        "message": error.msg if isinstance(error, SyntaxError) else str(error),
        "errno": getattr(error, "errno", None) if isinstance(error, OSError) else None,
        "places": [place for place in places if place[0].startswith(folder)][-20:],
    }
    with contextlib.suppress(OSError):
        os.write(notes, b"\n" + json.dumps(note).encode()[:16384] + b"\n")


# The guardian's own process.


class _Watch:
    """Waits for the end of a program, or ends it when it goes beyond a limit."""

    def __init__(self, job: dict[str, Any], program: int, notes: int, wake: int) -> None:
        self._job, self._program, self._notes, self._wake = job, program, notes, wake
        self._deadline = time.monotonic() + job["seconds"]
        self._end = ""
        self._status = 0

    def run(self) -> None:
        """Until the program's own end or a limit; ``_end`` says which."""
        while not self._end:
            readable, _, _ = select.select([0, self._wake], [], [], _PAUSE)
            if self._wake in readable:
                os.read(self._wake, 4096)
            if self._reaped():
                self._end = "finished"
                return
            if 0 in readable:
                self._hear()
            else:
                self._end = self._beyond()
        self._ask_where()

    def _reaped(self) -> bool:
        """Reap who has ended: whether the program has."""
        for pid, status in _reap():
            if pid == self._program:
                self._status = os.waitstatus_to_exitcode(status)
                return True
        return False

    def _hear(self) -> None:
        """The lab says why the program must end; or it is gone."""
        self._end = os.read(0, 4096).decode() or "alone"

    def _beyond(self) -> str:
        """The limit that is passed, if any."""
        if time.monotonic() > self._deadline:
            return "seconds"
        processes = list(_descendants())
        for name, now in (
            ("processes", len(processes)),
            ("cpu", sum(process.cpu for process in processes)),
            ("memory", sum(process.memory for process in processes)),
        ):
            if now > self._job[name]:
                return name
        size, files = _size(self._job["folder"])
        if size > self._job["folder_size"] or files > self._job["files"]:
            return "folder_size"
        return ""

    def _ask_where(self) -> None:
        """Have the program note where it is; those it started wait meanwhile."""
        for process in _descendants():
            if process.pid != self._program:
                _signal(process.pid, signal.SIGSTOP)
        before = os.fstat(self._notes).st_size
        _signal(self._program, signal.SIGXCPU)
        deadline = time.monotonic() + _LAST_WORDS
        while time.monotonic() < deadline:
            time.sleep(0.01)
            now = os.fstat(self._notes).st_size
            if now > before and now == os.fstat(self._notes).st_size:
                time.sleep(0.02)
                break

    def report(self) -> None:
        """Tell the lab; or, when it is gone, tidy up after it."""
        if self._end == "alone":
            import shutil

            shutil.rmtree(self._job["folder"], ignore_errors=True)
            return
        kept = {name: _read(os.path.join(self._job["folder"], name)) for name in self._job["keep"]}  # noqa: PTH118
        report = {
            "end": self._end,
            "status": self._status,
            "notes": os.pread(self._notes, 65536, 0).decode("utf-8", "replace"),
            "kept": {name: text for name, text in kept.items() if text is not None},
        }
        with os.fdopen(1, "wb") as out:
            out.write(json.dumps(report).encode())


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read(_MOST_KEPT)
    except OSError:
        return None


class _Process:
    """One line of ``/proc``: ``cpu`` in seconds, ``memory`` in bytes."""

    __slots__ = ("cpu", "memory", "parent", "pid", "zombie")

    _TICKS = os.sysconf("SC_CLK_TCK")
    _PAGE = os.sysconf("SC_PAGE_SIZE")

    def __init__(self, pid: int, stat: bytes) -> None:
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid = pid
        self.zombie = fields[0] == b"Z"
        self.parent = int(fields[1])
        self.cpu = sum(int(field) for field in fields[11:15]) / self._TICKS
        self.memory = int(fields[21]) * self._PAGE


def _descendants() -> Iterator[_Process]:
    """All processes that come from this one, without it; none where there is no ``/proc``."""
    children: dict[int, list[_Process]] = {}
    for process in _processes():
        children.setdefault(process.parent, []).append(process)
    waiting = [os.getpid()]
    while waiting:
        for process in children.pop(waiting.pop(), ()):
            waiting.append(process.pid)
            yield process


def _processes() -> Iterator[_Process]:
    try:
        names = os.listdir("/proc")  # noqa: PTH208
    except OSError:
        return
    for name in names:
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                number = os.open(f"/proc/{name}/stat", os.O_RDONLY)
                try:
                    yield _Process(int(name), os.read(number, 1024))
                finally:
                    os.close(number)


def _size(folder: str) -> tuple[int, int]:
    """The bytes and the number of all files in a folder."""
    size = files = 0
    for place, folders, names in os.walk(folder):
        files += len(folders) + len(names)
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
    return size, files


def _reap() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _end_all(program: int) -> None:
    """End all descendants. They are stopped first: who forks faster than we look is outrun."""
    while True:
        if not os.path.isdir("/proc"):  # noqa: PTH112 - then we know no more than its group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(program, signal.SIGKILL)
        stopped: set[int] = set()
        while new := {p.pid for p in _descendants() if not p.zombie} - stopped:
            for pid in new:
                _signal(pid, signal.SIGSTOP)
            stopped |= new
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
        for _ in _reap():
            pass
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError as error:
            if error.errno == errno.ECHILD:
                return
        time.sleep(0.005)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # Linux
        prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
